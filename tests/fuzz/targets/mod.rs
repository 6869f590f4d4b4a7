//! All fuzz targets by name; each has a corpus of its name.

pub(crate) mod apprtc;
pub(crate) mod apprtc_calls;
pub(crate) mod delivery;
pub(crate) mod envelope;
pub(crate) mod phone;
pub(crate) mod presence;
pub(crate) mod reader;
pub(crate) mod seal;
pub(crate) mod topic;
pub(crate) mod words;

#[cfg(feature = "media")]
pub(crate) mod answer;
#[cfg(feature = "media")]
pub(crate) mod ice_url;
#[cfg(feature = "media")]
pub(crate) mod rtp;
#[cfg(feature = "media")]
pub(crate) mod sdp;

/// Does with some bytes what a target is about; panics when something does not hold.
pub(crate) type Run = fn(&[u8]);

/// The target of this name.
pub(crate) fn named(name: &str) -> Option<Run> {
    Some(match name {
        "apprtc" => apprtc::run,
        "apprtc_calls" => apprtc_calls::run,
        "delivery" => delivery::run,
        "envelope" => envelope::run,
        "phone" => phone::run,
        "presence" => presence::run,
        "seal" => seal::run,
        "topic" => topic::run,
        "words" => words::run,
        #[cfg(feature = "media")]
        "answer" => answer::run,
        #[cfg(feature = "media")]
        "ice_url" => ice_url::run,
        #[cfg(feature = "media")]
        "rtp" => rtp::run,
        #[cfg(feature = "media")]
        "sdp" => sdp::run,
        _ => return None,
    })
}

//! The peer connection: ICE, DTLS, SRTP, RTP. The only room that imports `webrtc` and `rtc`.
//!
//! - signalling in and out: [`Peer::offer`], [`Peer::answer`], [`Peer::apply_answer`], [`Peer::add_candidates`],
//!   [`PeerEvent::Candidates`](events::PeerEvent::Candidates)
//! - the same again in mid-call, for other media or another path: [`Peer::update_offer`], [`Peer::answer_update`],
//!   [`Peer::apply_update`]; when that is wanted: `Silent`, `Stalled` and `NetworkChanged` of
//!   [`PeerEvent`](events::PeerEvent)
//! - media out: [`MediaSender`](crate::send::media_sender::MediaSender), from encoder threads
//! - media in: RTP packets into the two queues of [`Inbox`](crate::receive::inbox::Inbox)
//!
//! An ICE restart binds new sockets on the addresses that there are at that moment, and asks TURN servers for new
//! allocations over them. DTLS, and with it the keys and the streams, goes on as it was.
//!
//! Never blocks in a callback of the engine: everything there is a `try_send`.

mod answer;
mod build;
mod callbacks;
pub(crate) mod config;
mod cookie_random;
pub(crate) mod dial;
pub(crate) mod events;
mod exchange;
mod gather;
mod ice_restart;
mod ice_servers;
mod interceptors;
mod local_names;
mod machine;
mod medium;
mod names;
mod offer;
mod path_task;
#[cfg(test)]
mod payload_tests;
pub(crate) mod peer;
pub(crate) mod probe;
mod random;
mod reports;
mod runtime;
mod setup;
mod shared;
mod socket_errors;
pub(crate) mod sockets;
mod stats;
#[cfg(test)]
mod tests;
mod tracks;
mod unacknowledged;

pub use peer::Peer;

//! The sound system as this program sees it: which host, which device, which stream settings.
//!
//! Owns the choices that microphone and speaker share, and keeps ALSA's C library off standard error.
//! It must never hold a stream: [`crate::capture::microphone`] and [`crate::playout::speaker`] own theirs.
//!
//! - host: PulseAudio (or PipeWire's) when its server answers, else what the system has (ALSA, CoreAudio, WASAPI)
//! - device: the one named, else the system's default
//! - settings: 48 kHz, 16 bit, mono, or what comes closest; always a fixed buffer of about 10 ms
//!
//! PulseAudio's devices are listed by cpal and opened by [`super::pulse`].

use std::time::Duration;

use cpal::traits::{DeviceTrait, HostTrait};
use cpal::{BufferSize, SampleFormat, StreamConfig, SupportedBufferSize, SupportedStreamConfigRange};

use crate::frame::AUDIO_RATE_HZ;
use network::system_error::without_number;

/// How long a sound server may take to set a stream up.
pub(crate) const OPEN_PATIENCE: Duration = Duration::from_secs(5);

/// What a device is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It gives sound.
    Microphone,
    /// It takes sound.
    Speaker,
}

impl Role {
    /// For texts.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Microphone => "microphone",
            Self::Speaker => "speaker",
        }
    }
}

/// A device of one role.
pub(crate) struct Found {
    pub(crate) device: cpal::Device,
    /// What the sound system calls it, for example `alsa_output.usb-1.analog-stereo` or `plughw:CARD=0,DEV=0`.
    pub(crate) id: String,
    /// What people call it.
    pub(crate) name: String,
    /// True for the system's default.
    pub(crate) default: bool,
    /// True where it is a PulseAudio server's.
    pub(crate) pulse: bool,
}

/// How to open a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) config: StreamConfig,
    pub(crate) format: SampleFormat,
}

/// Connects to the sound system. Waits at most two seconds for a PulseAudio server that does not answer.
pub(crate) fn host() -> cpal::Host {
    quiet_alsa();
    cpal::default_host()
}

/// Every device of `role` that people may choose by name, the default one first where the host does not list it.
///
/// # Errors
/// The host's reason when it cannot list anything.
pub(crate) fn all(host: &cpal::Host, role: Role) -> Result<Vec<Found>, String> {
    let default = match role {
        Role::Microphone => host.default_input_device(),
        Role::Speaker => host.default_output_device(),
    };
    let default_id = default.as_ref().and_then(id_of);
    let devices = host.devices().map_err(|error| reason(&error))?;
    let pulse = is_pulse(host);
    let describe = |device, default_id| describe(device, default_id, pulse);
    let mut found: Vec<Found> = devices
        .filter(|device| match role {
            Role::Microphone => device.supports_input(),
            Role::Speaker => device.supports_output(),
        })
        .filter_map(|device| describe(device, default_id.as_deref()))
        .collect();
    if let Some(device) = default
        && !found.iter().any(|found| found.default)
        && let Some(first) = describe(device, default_id.as_deref())
    {
        found.insert(0, first);
    }
    Ok(found)
}

/// The device called `name`, or the default one.
///
/// # Errors
/// A text that says what is missing, without advice.
pub(crate) fn find(role: Role, name: Option<&str>) -> Result<Found, String> {
    let what = role.word();
    let mut found = all(&host(), role).map_err(|reason| format!("no {what} can be listed: {reason}"))?;
    let labels: Vec<Label<'_>> =
        found.iter().map(|found| Label { id: &found.id, name: &found.name, default: found.default }).collect();
    match choose(&labels, name) {
        Some(index) => Ok(found.swap_remove(index)),
        None => Err(match name {
            Some(name) => format!("no {what} has {name:?} in its name"),
            None => format!("no {what} found"),
        }),
    }
}

/// What [`choose`] looks at.
struct Label<'a> {
    id: &'a str,
    name: &'a str,
    default: bool,
}

/// Picks by exact id or name, then by a part of either, whatever the case. Without a name: the default device, but
/// never a speaker's monitor, which would send the partner's own voice back; it has to be asked for.
fn choose(labels: &[Label<'_>], wanted: Option<&str>) -> Option<usize> {
    let Some(wanted) = wanted.map(str::to_lowercase) else {
        let real = |label: &Label<'_>| !is_monitor(label.id);
        return labels.iter().position(|label| label.default && real(label)).or_else(|| labels.iter().position(real));
    };
    let rank = |label: &Label<'_>| {
        let texts = [label.id.to_lowercase(), label.name.to_lowercase()];
        if texts.contains(&wanted) {
            Some(0)
        } else if texts.iter().any(|text| text.contains(&wanted)) {
            Some(if is_monitor(label.id) { 2 } else { 1 })
        } else {
            None
        }
    };
    (0..labels.len()).filter_map(|index| Some((rank(&labels[index])?, index))).min().map(|(_, index)| index)
}

/// True for PulseAudio's sources that hear what a speaker plays.
pub(crate) fn is_monitor(id: &str) -> bool {
    id.ends_with(".monitor")
}

/// Chooses how to open `device`.
///
/// # Errors
/// The device's reason when it offers nothing.
pub(crate) fn settings(device: &cpal::Device, role: Role) -> Result<Settings, cpal::Error> {
    let ranges: Result<Vec<SupportedStreamConfigRange>, cpal::Error> = match role {
        Role::Microphone => device.supported_input_configs().map(Iterator::collect),
        Role::Speaker => device.supported_output_configs().map(Iterator::collect),
    };
    closest(&ranges?).ok_or_else(|| unknown_format("none of those it offers"))
}

/// The settings nearest to 48 kHz, 16 bit, mono, in this order of weight.
fn closest(ranges: &[SupportedStreamConfigRange]) -> Option<Settings> {
    let (range, rate) = ranges
        .iter()
        .filter(|range| format_rank(range.sample_format()).is_some())
        .map(|range| (range, AUDIO_RATE_HZ.clamp(range.min_sample_rate(), range.max_sample_rate())))
        .filter(|(range, rate)| *rate > 0 && range.channels() > 0)
        .min_by_key(|(range, rate)| {
            (rate.abs_diff(AUDIO_RATE_HZ), format_rank(range.sample_format()), range.channels())
        })?;
    // 10 ms a callback.
    let frames = match *range.buffer_size() {
        SupportedBufferSize::Range { min, max } => (rate / 100).max(min).min(max.max(1)),
        SupportedBufferSize::Unknown => rate / 100,
    };
    Some(Settings {
        config: StreamConfig { channels: range.channels(), sample_rate: rate, buffer_size: BufferSize::Fixed(frames) },
        format: range.sample_format(),
    })
}

/// Lower is better: no conversion, then no loss, then the rest. `None` for formats nobody converts.
fn format_rank(format: SampleFormat) -> Option<u8> {
    match format {
        SampleFormat::I16 => Some(0),
        SampleFormat::F32 | SampleFormat::I32 | SampleFormat::I24 => Some(1),
        SampleFormat::U16 => Some(2),
        SampleFormat::U8 | SampleFormat::I8 => Some(3),
        _ => None,
    }
}

/// True where a PulseAudio server answers, or PipeWire in its place.
#[cfg(target_os = "linux")]
fn is_pulse(host: &cpal::Host) -> bool {
    host.id() == cpal::HostId::PulseAudio
}

/// There is PulseAudio on Linux alone.
#[cfg(not(target_os = "linux"))]
fn is_pulse(_host: &cpal::Host) -> bool {
    false
}

fn describe(device: cpal::Device, default_id: Option<&str>, pulse: bool) -> Option<Found> {
    let id = id_of(&device)?;
    let name = device.description().map_or_else(|_| id.clone(), |description| description.name().to_owned());
    let default = default_id == Some(id.as_str());
    Some(Found { device, id, name, default, pulse })
}

fn id_of(device: &cpal::Device) -> Option<String> {
    device.id().ok().map(|id| id.id().to_owned())
}

/// The error of a device whose samples nobody converts.
pub(crate) fn unknown_format(format: impl std::fmt::Display) -> cpal::Error {
    cpal::Error::with_message(cpal::ErrorKind::UnsupportedConfig, format!("unknown sample format: {format}"))
}

/// Why a device that [`find`] gave cannot be opened, without advice.
pub(crate) fn failure(role: Role, wanted: Option<&str>, name: &str, error: &cpal::Error) -> String {
    let what = role.word();
    match error.kind() {
        // ALSA names a default device on machines that have none.
        cpal::ErrorKind::DeviceNotAvailable if wanted.is_none() => format!("no {what} found"),
        _ => format!("{what} {name:?} cannot be opened: {}", reason(error)),
    }
}

/// A cpal error as the tail of one of our texts.
fn reason(error: &cpal::Error) -> String {
    match error.kind() {
        cpal::ErrorKind::DeviceNotAvailable => "it is not there".to_owned(),
        cpal::ErrorKind::DeviceBusy => "another program uses it".to_owned(),
        cpal::ErrorKind::PermissionDenied => "this user may not use it".to_owned(),
        _ => without_number(&error.to_string()).trim_end_matches('.').to_owned(),
    }
}

/// Keeps ALSA's C library from printing on standard error, for all that the calling thread does from now on.
#[cfg(target_os = "linux")]
fn quiet_alsa() {
    // The handler stays installed when the returned buffer is dropped; calling again only empties the buffer.
    if let Err(error) = alsa::Output::local_error_handler() {
        tracing::debug!(%error, "alsa prints its errors on standard error");
    }
}

/// Only ALSA needs to be quietened.
#[cfg(not(target_os = "linux"))]
fn quiet_alsa() {}

#[cfg(test)]
mod tests {
    use super::*;

    fn label<'a>(id: &'a str, name: &'a str, default: &str) -> Label<'a> {
        Label { id, name, default: default == "default" }
    }

    #[test]
    fn a_name_matches_whole_before_part_and_real_before_monitor() {
        let labels = [
            label("usb.monitor", "Monitor of USB headset", ""),
            label("usb", "USB headset", ""),
            label("head", "Other", "default"),
        ];
        assert_eq!(choose(&labels, Some("HEAD")), Some(2));
        assert_eq!(choose(&labels, Some("headset")), Some(1));
        assert_eq!(choose(&labels, Some("monitor of")), Some(0));
        assert_eq!(choose(&labels, Some("piano")), None);
    }

    #[test]
    fn without_a_name_the_default_is_taken_unless_it_is_a_monitor() {
        let real = label("mic", "Microphone", "");
        assert_eq!(choose(&[label("a.monitor", "Monitor", "default"), real], None), Some(1));
        assert_eq!(choose(&[label("a.monitor", "Monitor", "default")], None), None);
        assert_eq!(choose(&[label("x", "X", ""), label("y", "Y", "default")], None), Some(1));
        assert_eq!(choose(&[], None), None);
    }

    #[test]
    fn the_settings_come_as_close_to_mono_16_bit_48_khz_as_the_device_allows() {
        let range = |channels, low, high, format| {
            SupportedStreamConfigRange::new(channels, low, high, SupportedBufferSize::Unknown, format)
        };
        let best = closest(&[
            range(1, 8_000, 16_000, SampleFormat::I16),
            range(2, 44_100, 96_000, SampleFormat::F32),
            range(2, 44_100, 96_000, SampleFormat::I16),
        ])
        .unwrap();
        assert_eq!(best.format, SampleFormat::I16);
        assert_eq!((best.config.channels, best.config.sample_rate), (2, 48_000));
        assert_eq!(best.config.buffer_size, BufferSize::Fixed(480));

        let narrow = SupportedBufferSize::Range { min: 1_024, max: 4_096 };
        let only = [SupportedStreamConfigRange::new(2, 44_100, 44_100, narrow, SampleFormat::I32)];
        let best = closest(&only).unwrap();
        assert_eq!((best.config.sample_rate, best.config.buffer_size), (44_100, BufferSize::Fixed(1_024)));
        assert_eq!(closest(&[range(2, 48_000, 48_000, SampleFormat::DsdU8)]), None);
    }
}

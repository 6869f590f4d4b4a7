//! The one place where an outcome becomes an exit status (docs/PROTOCOL.md lists them for scripts).

use network::system_error::without_number;
use signalling::call::EndReason;
use signalling::mqtt::LinkError;

use crate::platform::signals::End;
use crate::servers::ServeError;

/// Exit statuses that scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    Done = 0,
    Internal = 1,
    Usage = 2,
    Busy = 10,
    Declined = 11,
    NoAnswer = 12,
    Offline = 13,
    Cancelled = 14,
    BrokerUnreachable = 20,
    BrokerRefused = 21,
    NoPath = 22,
    NoMedia = 23,
    Identity = 24,
    Device = 25,
    Assertion = 30,
    Interrupted = 130,
}

impl ExitStatus {
    const ALL: [Self; 16] = [
        Self::Done,
        Self::Internal,
        Self::Usage,
        Self::Busy,
        Self::Declined,
        Self::NoAnswer,
        Self::Offline,
        Self::Cancelled,
        Self::BrokerUnreachable,
        Self::BrokerRefused,
        Self::NoPath,
        Self::NoMedia,
        Self::Identity,
        Self::Device,
        Self::Assertion,
        Self::Interrupted,
    ];

    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// The status of a command that ends because somebody asked it to.
    pub(crate) const fn of(end: End) -> Self {
        match end {
            End::Terminate => Self::Done,
            End::Interrupt | End::AtOnce => Self::Interrupted,
        }
    }

    /// Its name where outcomes are counted.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::Busy => "busy",
            Self::Declined => "declined",
            Self::NoAnswer => "no-answer",
            Self::Offline => "offline",
            Self::Cancelled => "cancelled",
            Self::BrokerUnreachable => "broker-unreachable",
            Self::BrokerRefused => "broker-refused",
            Self::NoPath => "no-path",
            Self::NoMedia => "no-media",
            Self::Identity => "identity",
            Self::Device => "device",
            Self::Assertion => "assertion",
            Self::Interrupted => "interrupted",
        }
    }

    /// What it says, for manual pages.
    const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "there was a call and it ended as usual",
            Self::Internal => "internal error, or a recording or picture could not be written",
            Self::Usage => "wrong options or files",
            Self::Busy => "the other side is busy",
            Self::Declined => "declined",
            Self::NoAnswer => "it rang and nobody answered",
            Self::Offline => "nobody is there by that ID",
            Self::Cancelled => "the caller gave up before the answer (listen --once)",
            Self::BrokerUnreachable => "broker not reachable, or its certificate is not trusted",
            Self::BrokerRefused => "broker refused: login, rules, or the ID is in use elsewhere",
            Self::NoPath => "no network path between the two, or it was lost",
            Self::NoMedia => "connected, but no media",
            Self::Identity => "the key of the other side is not the one that is known, or it has none",
            Self::Device => "camera, microphone or speaker missing or in use",
            Self::Assertion => "something that a test or a load expected did not come",
            Self::Interrupted => "interrupted with Ctrl-C",
        }
    }

    /// All of them with their codes, for manual pages.
    pub(crate) fn table() -> impl Iterator<Item = (u8, &'static str)> {
        Self::ALL.into_iter().map(|status| (status.code(), status.meaning()))
    }

    /// The status of this code.
    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// The name of the status of this code; of one that is none, that of an internal error.
    pub(crate) fn name_of(code: u8) -> &'static str {
        Self::of_code(code).unwrap_or(Self::Internal).name()
    }
}

impl From<EndReason> for ExitStatus {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::LocalHangup | EndReason::RemoteHangup | EndReason::LocalCancel => Self::Done,
            EndReason::LocalDecline | EndReason::RemoteDecline => Self::Declined,
            EndReason::Busy => Self::Busy,
            EndReason::NoAnswer => Self::NoAnswer,
            EndReason::Offline => Self::Offline,
            EndReason::RemoteCancel => Self::Cancelled,
            EndReason::NoPath | EndReason::Lost => Self::NoPath,
            EndReason::Identity | EndReason::Commitment => Self::Identity,
            // The failure itself knows better; this is for the case that none was noted.
            EndReason::LocalFailure => Self::Internal,
        }
    }
}

impl From<&LinkError> for ExitStatus {
    fn from(error: &LinkError) -> Self {
        match error {
            LinkError::Unreachable { .. } | LinkError::Tls { .. } | LinkError::OtherProtocol { .. } => {
                Self::BrokerUnreachable
            }
            LinkError::LoginRefused { .. }
            | LinkError::IdRefused { .. }
            | LinkError::VersionRefused { .. }
            | LinkError::SubscriptionRefused { .. }
            | LinkError::NotReadable { .. }
            | LinkError::PublishRefused { .. }
            | LinkError::PacketTooLarge { .. }
            | LinkError::ClosesOnPacket { .. }
            | LinkError::Refused { .. }
            | LinkError::TakenOver { .. }
            | LinkError::OneConnectionALogin { .. }
            | LinkError::Relayed(_) => Self::BrokerRefused,
            LinkError::TlsFile(_) => Self::Usage,
        }
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let status = if error.is_usage() { ExitStatus::Usage } else { ExitStatus::Internal };
        Self::new(status, error.text())
    }
}

/// An error with the status it ends the program with.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    pub(crate) status: ExitStatus,
    pub(crate) text: String,
}

impl Failure {
    /// An error of the system in `text` loses its number: people read this.
    pub(crate) fn new(status: ExitStatus, text: impl std::fmt::Display) -> Self {
        Self { status, text: without_number(&text.to_string()) }
    }

    /// What a recording that cannot go on means for the exit status; `None` for any other event.
    pub(crate) fn of_recording(event: media::call::StreamEvent) -> Option<Self> {
        match event {
            media::call::StreamEvent::RecordingFailed(text) => Some(Self::internal(text)),
            _ => None,
        }
    }

    /// The same, with another clause of advice.
    #[must_use]
    pub(crate) fn and(self, advice: &str) -> Self {
        Self { status: self.status, text: format!("{}; {advice}", self.text) }
    }

    pub(crate) fn usage(text: impl std::fmt::Display) -> Self {
        Self::new(ExitStatus::Usage, text)
    }

    pub(crate) fn device(text: impl std::fmt::Display) -> Self {
        Self::new(ExitStatus::Device, text)
    }

    pub(crate) fn internal(text: impl std::fmt::Display) -> Self {
        Self::new(ExitStatus::Internal, text)
    }
}

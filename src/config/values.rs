//! What settings are made of: where a value comes from, and what it is, as text.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use signalling::id::PeerId;

/// Where a value comes from; what comes later here gives way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Variable(String),
    Profile { name: String, line: usize },
    Top { line: usize },
    Default,
}

impl Origin {
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::Flag => 0,
            Self::Variable(_) => 1,
            Self::Profile { .. } => 2,
            Self::Top { .. } => 3,
            Self::Default => 4,
        }
    }

    /// As `tring config` and errors say it.
    pub(crate) fn words(&self, file: &str) -> String {
        match self {
            Self::Flag => "flag".to_owned(),
            Self::Variable(variable) => variable.clone(),
            Self::Profile { name, line } => format!("profile {name} in {file}:{line}"),
            Self::Top { line } => format!("{file}:{line}"),
            Self::Default => "default".to_owned(),
        }
    }
}

/// The layer a setting is taken from, and its values there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) origin: Origin,
    pub(super) values: Vec<OsString>,
}

/// Peers by the nicks they have here.
pub(crate) type Contacts = Arc<BTreeMap<String, PeerId>>;

/// Settings of one table, by key.
pub(super) type Table = BTreeMap<String, Entry>;

/// One setting of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) origin: Origin,
    /// as they would be typed
    pub(super) values: Vec<OsString>,
}

/// The options that were typed, by their ids, with their values.
pub(super) type Typed = BTreeMap<String, Vec<OsString>>;

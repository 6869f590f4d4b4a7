//! Which MQTT is spoken.

use std::fmt;
use std::str::FromStr;

/// Version of MQTT. Every broker speaks 3.1.1; 5 adds reasons for what a broker refuses, and messages that expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 3.1.1, protocol level 4.
    #[default]
    V3,
    /// MQTT 5.
    V5,
}

/// A text that names no version we speak.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no MQTT version spoken here; use 3.1.1 or 5")]
pub struct InvalidMqttVersion(String);

impl FromStr for MqttVersion {
    type Err = InvalidMqttVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "3.1.1" => Ok(Self::V3),
            "5" => Ok(Self::V5),
            other => Err(InvalidMqttVersion(other.to_owned())),
        }
    }
}

impl fmt::Display for MqttVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3 => "3.1.1",
            Self::V5 => "5",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_back() {
        for text in ["3.1.1", "5"] {
            assert_eq!(text.parse::<MqttVersion>().unwrap().to_string(), text);
        }
        assert_eq!(MqttVersion::default().to_string(), "3.1.1");
        for text in ["", "3", "4", "5.0", "v5"] {
            assert!(text.parse::<MqttVersion>().is_err(), "{text}");
        }
    }
}

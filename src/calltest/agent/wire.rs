//! What agents and runners say, as JSON. Reading is parsing: whatever comes out has sane sizes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use signalling::id::MessageId;

use crate::calltest::peers::{PeerInput, PeerOutput};

/// Version of this form.
pub(crate) const VERSION: u32 = 1;

/// Largest frame: brokers that take call messages take it.
pub(crate) const FRAME_BYTES_MAX: usize = 192 * 1024;

/// Largest item, so that one always fits into a frame; a summary has some 2 KiB.
pub(crate) const ITEM_BYTES_MAX: usize = 64 * 1024;

/// Longest name of a part.
const NAME_BYTES_MAX: usize = 128;

/// Arguments of a part, and their length all together.
const ARGUMENTS_MAX: usize = 256;
const ARGUMENTS_BYTES_MAX: usize = 32 * 1024;

/// Names a run of a runner; drawn anew by each.
pub(crate) type Run = MessageId;

/// One message between an agent and a runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Frame<Item> {
    /// Format version, [`VERSION`].
    pub(crate) v: u32,
    /// The run it belongs to.
    pub(crate) run: Run,
    /// What it says.
    #[serde(flatten)]
    pub(crate) body: Body<Item>,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Body<Item> {
    /// Items in order; none at all is a sign of life.
    Items {
        /// The number of the last item that arrived, all before it included; 0 for none.
        ack: u64,
        /// The number of the first item here, from 1; of the next one to be, when there are none.
        first: u64,
        /// The items.
        items: Vec<Item>,
    },
    /// The agent does not know the run, or does not take it.
    Refused {
        /// Why.
        reason: String,
    },
}

/// What a runner asks of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// To run this part.
    Start {
        /// Its name, one of its own in the run.
        part: String,
        /// Command and options of `tring`.
        arguments: Vec<String>,
    },
    /// To pass this on to a part.
    Order {
        /// Its name.
        part: String,
        /// What it is told.
        order: PeerInput,
    },
    /// To end what still runs: the run is over.
    Close,
}

/// What an agent tells a runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tell {
    /// A part tells this.
    Told {
        /// Its name.
        part: String,
        /// What it tells.
        told: PeerOutput,
    },
    /// A part does not run.
    Refused {
        /// Its name.
        part: String,
        /// Why.
        reason: String,
    },
}

/// Bytes that are no frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoFrame {
    /// Above [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes is above the limit of {FRAME_BYTES_MAX}")]
    TooLarge(usize),
    /// Not JSON, or of another shape.
    #[error("no frame of this protocol: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A later format.
    #[error("frame format {0} is not supported (this program speaks {VERSION})")]
    Version(u32),
    /// Names or arguments are larger than any real ones.
    #[error("a part's name or arguments are above their limit")]
    Excessive,
}

/// An item whose parts have limits.
pub(crate) trait Bounded {
    /// True when each part is within its limit.
    fn is_within(&self) -> bool;
}

impl Bounded for Ask {
    fn is_within(&self) -> bool {
        match self {
            Self::Start { part, arguments } => {
                part.len() <= NAME_BYTES_MAX
                    && arguments.len() <= ARGUMENTS_MAX
                    && arguments.iter().map(String::len).sum::<usize>() <= ARGUMENTS_BYTES_MAX
            }
            Self::Order { part, .. } => part.len() <= NAME_BYTES_MAX,
            Self::Close => true,
        }
    }
}

impl Bounded for Tell {
    fn is_within(&self) -> bool {
        match self {
            Self::Told { part, .. } | Self::Refused { part, .. } => part.len() <= NAME_BYTES_MAX,
        }
    }
}

impl<Item: Serialize + DeserializeOwned + Bounded> Frame<Item> {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`NoFrame`] on anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, NoFrame> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(NoFrame::TooLarge(bytes.len()));
        }
        let frame: Self = serde_json::from_slice(bytes)?;
        if frame.v != VERSION {
            return Err(NoFrame::Version(frame.v));
        }
        match &frame.body {
            Body::Items { items, .. } if !items.iter().all(Bounded::is_within) => Err(NoFrame::Excessive),
            Body::Items { .. } | Body::Refused { .. } => Ok(frame),
        }
    }

    /// Writes it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a frame has string keys only, so it always serialises")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run() -> Run {
        "7".to_owned().try_into().unwrap()
    }

    /// docs/PROTOCOL.md shows these.
    #[test]
    fn frames_have_the_form_that_is_documented() {
        let asks = vec![
            Ask::Start { part: "alice".into(), arguments: vec!["call".into(), "bob".into()] },
            Ask::Order { part: "alice".into(), order: PeerInput::Control(r#"{"command":"hold"}"#.into()) },
            Ask::Order { part: "alice".into(), order: PeerInput::Interrupt },
            Ask::Close,
        ];
        let frame = Frame { v: 1, run: run(), body: Body::Items { ack: 0, first: 1, items: asks } };
        let text = r#"{"v":1,"run":"7","type":"items","ack":0,"first":1,"items":[{"start":{"part":"alice","arguments":["call","bob"]}},{"order":{"part":"alice","order":{"control":"{\"command\":\"hold\"}"}}},{"order":{"part":"alice","order":"interrupt"}},"close"]}"#;
        assert_eq!(String::from_utf8(frame.to_bytes()).unwrap(), text);
        assert_eq!(Frame::<Ask>::from_bytes(text.as_bytes()).unwrap(), frame);
        let told = |told| Tell::Told { part: "alice".into(), told };
        let tells = vec![
            told(PeerOutput::Event(json!({"event": "dialing"}))),
            told(PeerOutput::Log("a line".into())),
            told(PeerOutput::Ended(Some(0))),
            told(PeerOutput::Ended(None)),
            Tell::Refused { part: "bob".into(), reason: "no".into() },
        ];
        let frame = Frame { v: 1, run: run(), body: Body::Items { ack: 4, first: 1, items: tells } };
        let text = r#"{"v":1,"run":"7","type":"items","ack":4,"first":1,"items":[{"told":{"part":"alice","told":{"event":{"event":"dialing"}}}},{"told":{"part":"alice","told":{"log":"a line"}}},{"told":{"part":"alice","told":{"ended":0}}},{"told":{"part":"alice","told":{"ended":null}}},{"refused":{"part":"bob","reason":"no"}}]}"#;
        assert_eq!(String::from_utf8(frame.to_bytes()).unwrap(), text);
        assert_eq!(Frame::<Tell>::from_bytes(text.as_bytes()).unwrap(), frame);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let start = |part: String, arguments: Vec<String>| {
            let items = vec![Ask::Start { part, arguments }];
            Frame { v: 1, run: run(), body: Body::Items { ack: 0, first: 1, items } }.to_bytes()
        };
        let of = |bytes: &[u8]| Frame::<Ask>::from_bytes(bytes);
        assert!(of(&start("a".into(), vec!["call".into()])).is_ok());
        assert!(matches!(of(&vec![b' '; FRAME_BYTES_MAX + 1]), Err(NoFrame::TooLarge(_))));
        assert!(matches!(of(br#"{"v":2,"run":"7","type":"refused","reason":""}"#), Err(NoFrame::Version(2))));
        for excessive in [
            start("x".repeat(NAME_BYTES_MAX + 1), Vec::new()),
            start("a".into(), vec![String::new(); ARGUMENTS_MAX + 1]),
            start("a".into(), vec!["x".repeat(ARGUMENTS_BYTES_MAX + 1)]),
        ] {
            assert!(matches!(of(&excessive), Err(NoFrame::Excessive)));
        }
        for malformed in ["", "{}", "[]", r#"{"v":1,"run":"/","type":"items","ack":0,"first":1,"items":[]}"#] {
            assert!(matches!(of(malformed.as_bytes()), Err(NoFrame::Malformed(_))), "{malformed}");
        }
    }
}

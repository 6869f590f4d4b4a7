//! Who publishes where.
//!
//! A peer publishes only on topics under its own ID and its partner subscribes to them. The default template
//! `tring/call/{from}/{to}` names both; the plain `{from}` is one bare ClientId topic a peer, where only the message
//! itself says whom it is for.

use std::str::FromStr;

use crate::id::PeerId;

/// Where presence is retained: `tring/presence/{id}`.
const PRESENCE_PREFIX: &str = "tring/presence/";

/// How call topics are built: levels separated by `/`, of which one is `{from}` and at most one `{to}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    levels: Vec<Level>,
}

/// Who hears what a peer says to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearers {
    /// The other alone: the topic names it.
    One,
    /// Whoever subscribed to the speaker's one topic.
    All,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Literal(String),
    From,
    To,
}

/// A template that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// Without the sender's ID nobody could tell who publishes.
    #[error("topic template {0:?} lacks {{from}}; use 'tring/call/{{from}}/{{to}}' or '{{from}}'")]
    NoSender(String),
    /// A level is empty, holds a wildcard, or mixes a placeholder with text.
    #[error("topic template {template:?}: level {level:?} must be plain text, {{from}} or {{to}}")]
    Level {
        /// The whole template.
        template: String,
        /// The level at fault.
        level: String,
    },
    /// `{from}` or `{to}` stands twice.
    #[error("topic template {0:?} names a placeholder twice")]
    Twice(String),
    /// Calls would be mixed up with presence.
    #[error("topic template {0:?} lies under 'tring/presence/', which is kept for presence")]
    Presence(String),
}

impl Default for Template {
    fn default() -> Self {
        Self { levels: vec![Level::Literal("tring".into()), Level::Literal("call".into()), Level::From, Level::To] }
    }
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut levels = Vec::new();
        for part in text.split('/') {
            let level = match part {
                "{from}" => Level::From,
                "{to}" => Level::To,
                literal if is_literal(literal) => Level::Literal(literal.to_owned()),
                other => return Err(InvalidTemplate::Level { template: text.into(), level: other.into() }),
            };
            if !matches!(level, Level::Literal(_)) && levels.contains(&level) {
                return Err(InvalidTemplate::Twice(text.into()));
            }
            levels.push(level);
        }
        if !levels.contains(&Level::From) {
            return Err(InvalidTemplate::NoSender(text.into()));
        }
        if text.starts_with(PRESENCE_PREFIX) {
            return Err(InvalidTemplate::Presence(text.into()));
        }
        Ok(Self { levels })
    }
}

fn is_literal(level: &str) -> bool {
    !level.is_empty() && level.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl Template {
    /// The plain form: each peer speaks on the topic that is its own ID.
    #[must_use]
    pub fn bare() -> Self {
        Self { levels: vec![Level::From] }
    }

    /// Who hears what is said.
    #[must_use]
    pub fn hearers(&self) -> Hearers {
        if self.levels.contains(&Level::To) { Hearers::One } else { Hearers::All }
    }

    /// The topic on which `from` speaks to `to`.
    #[must_use]
    pub fn call(&self, from: &PeerId, to: &PeerId) -> String {
        self.build(from.as_str(), to.as_str())
    }

    /// True when a topic says whom it is for; false for one topic a peer.
    #[must_use]
    pub fn names_listener(&self) -> bool {
        self.levels.contains(&Level::To)
    }

    /// The filter that catches whatever anyone says to `me`. Without `{to}` in the template this is every peer's topic.
    #[must_use]
    pub fn from_anyone(&self, me: &PeerId) -> String {
        self.build("+", me.as_str())
    }

    /// Who published on `topic`, if it is a call topic and, where it says so, one for `me`.
    #[must_use]
    pub fn sender(&self, topic: &str, me: &PeerId) -> Option<PeerId> {
        let mut parts = topic.split('/');
        let mut sender = None;
        for level in &self.levels {
            let part = parts.next()?;
            match level {
                Level::Literal(literal) if literal == part => {}
                Level::To if part == me.as_str() => {}
                Level::From => sender = part.parse().ok(),
                Level::Literal(_) | Level::To => return None,
            }
        }
        if parts.next().is_some() { None } else { sender }
    }

    /// The filter that catches whatever anyone says to anyone.
    #[must_use]
    pub fn everything(&self) -> String {
        self.build("+", "+")
    }

    /// Who speaks on `topic`, and to whom where it says so, if it is a call topic.
    #[must_use]
    pub fn speakers(&self, topic: &str) -> Option<(PeerId, Option<PeerId>)> {
        let mut parts = topic.split('/');
        let (mut from, mut to) = (None, None);
        for level in &self.levels {
            let part = parts.next()?;
            match level {
                Level::Literal(literal) if literal == part => {}
                Level::Literal(_) => return None,
                Level::From => from = Some(part.parse().ok()?),
                Level::To => to = Some(part.parse().ok()?),
            }
        }
        if parts.next().is_some() { None } else { Some((from?, to)) }
    }

    fn build(&self, from: &str, to: &str) -> String {
        let parts: Vec<&str> = self
            .levels
            .iter()
            .map(|level| match level {
                Level::Literal(literal) => literal.as_str(),
                Level::From => from,
                Level::To => to,
            })
            .collect();
        parts.join("/")
    }
}

/// The topic on which `peer` retains its presence.
#[must_use]
pub fn presence(peer: &PeerId) -> String {
    format!("{PRESENCE_PREFIX}{peer}")
}

/// The filter that catches everybody's presence.
#[must_use]
pub fn anyones_presence() -> String {
    format!("{PRESENCE_PREFIX}+")
}

/// Whose presence `topic` holds, if it is a presence topic.
#[must_use]
pub fn presence_owner(topic: &str) -> Option<PeerId> {
    topic.strip_prefix(PRESENCE_PREFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    #[test]
    fn default_template_names_both_and_reads_back() {
        let template = Template::default();
        assert_eq!(template, "tring/call/{from}/{to}".parse().unwrap());
        assert_eq!(template.call(&id("alice"), &id("bob")), "tring/call/alice/bob");
        assert_eq!(template.from_anyone(&id("alice")), "tring/call/+/alice");
        assert_eq!(template.sender("tring/call/bob/alice", &id("alice")), Some(id("bob")));
        assert_eq!(template.sender("tring/call/bob/carol", &id("alice")), None);
        assert_eq!(template.sender("tring/call/b.b/alice", &id("alice")), None);
        assert_eq!(template.sender("tring/call/bob/alice/more", &id("alice")), None);
        assert_eq!(template.sender("tring/call/bob", &id("alice")), None);
    }

    #[test]
    fn plain_template_is_one_topic_a_peer() {
        let template: Template = "{from}".parse().unwrap();
        assert_eq!((template.hearers(), Template::default().hearers()), (Hearers::All, Hearers::One));
        assert_eq!(template, Template::bare());
        assert_eq!(template.call(&id("alice"), &id("bob")), "alice");
        assert_eq!(template.from_anyone(&id("alice")), "+");
        assert_eq!(template.sender("bob", &id("alice")), Some(id("bob")));
        assert_eq!(template.sender("tring/presence/bob", &id("alice")), None);
    }

    #[test]
    fn whoever_reads_along_learns_who_speaks_to_whom() {
        let (both, bare) = (Template::default(), Template::bare());
        assert_eq!((both.everything().as_str(), bare.everything().as_str()), ("tring/call/+/+", "+"));
        assert_eq!(both.speakers("tring/call/alice/bob"), Some((id("alice"), Some(id("bob")))));
        assert_eq!(bare.speakers("alice"), Some((id("alice"), None)));
        for topic in ["tring/call/alice", "tring/call/alice/bob/more", "tring/call/a.b/bob", "tring/other/alice/bob"] {
            assert_eq!(both.speakers(topic), None, "{topic}");
        }
    }

    #[test]
    fn templates_that_cannot_work_are_refused() {
        for bad in [
            "",
            "calls/{to}",
            "a//{from}",
            "/{from}",
            "x/+/{from}",
            "#",
            "{from}/{from}",
            "a{from}",
            "tring/presence/{from}",
        ] {
            assert!(bad.parse::<Template>().is_err(), "{bad}");
        }
    }

    #[test]
    fn presence_topics_read_back() {
        assert_eq!(presence_owner(&presence(&id("bob"))), Some(id("bob")));
        assert_eq!(presence_owner("tring/presence/a/b"), None);
    }
}

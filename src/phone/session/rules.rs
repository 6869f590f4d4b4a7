//! Whether the broker's rules let our messages through, which one of version 3.1.1 does not say: a message to ourselves
//! has to come back. Who listens looks at the start; who calls looks when the other side does not answer. Pure.

use std::time::{Duration, Instant};

use signalling::id::PeerId;
use signalling::topic::Template;

/// An offer that is not acknowledged for so long may have been lost on the way.
pub(super) const UNANSWERED: Duration = Duration::from_secs(1);

/// What is known of our own messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Echo {
    /// Not asked.
    #[default]
    Unknown,
    /// Asked; it does not pass when nothing comes until then.
    Awaited(Instant),
    /// A message to ourselves came back.
    Heard,
    /// None came.
    Missing,
}

/// What a listener is told whose messages to itself do not come back.
pub(super) fn deaf(template: &Template, me: &PeerId) -> String {
    let (own, calls) = (template.call(me, me), template.from_anyone(me));
    format!(
        "a message to ourselves on {own:?} did not come back: the broker's rules seem to be against calls; they must let \
         {me} read {calls:?} and write what it says to others; `tring doctor` looks at them"
    )
}

/// What a caller is told of a callee that is at the broker and does not answer.
pub(super) fn lost_on_the_way(template: &Template, me: &PeerId, peer: &PeerId, echo: Echo) -> String {
    let (out, back) = (template.call(me, peer), template.call(peer, me));
    let (own, theirs) = (template.call(me, me), template.from_anyone(peer));
    match echo {
        Echo::Heard => format!(
            "{peer} is at the broker, but does not answer; our own messages pass, so look there: the broker's rules must \
             let {peer} read {theirs:?} and write {back:?}, with the same --topic; `tring doctor --id {peer}` there finds it"
        ),
        Echo::Missing => format!(
            "{peer} does not answer, and our messages are lost: not even one to ourselves on {own:?} came back; the \
             broker's rules must let {me} write {out:?} and read {back:?}; `tring doctor` looks at them"
        ),
        Echo::Unknown | Echo::Awaited(_) => format!(
            "{peer} is at the broker, but does not answer; the broker's rules must let {me} write {out:?} and read \
             {back:?}, and {peer} the other way round, with the same --topic; `tring doctor` on both sides finds it"
        ),
    }
}

/// What a caller is told of a callee of whom nothing is to be seen, so that nothing could be sealed for it.
pub(super) fn no_key(peer: &PeerId) -> String {
    format!(
        "no presence of {peer} is to be seen, and so no key to seal for: nobody has been there by that ID, the broker's rules \
         hide it, or the program there cannot seal, which --plain is for"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_is_told_what_to_look_at() {
        let (template, alice, bob) = (Template::default(), "alice".parse().unwrap(), "bob".parse().unwrap());
        let told = deaf(&template, &bob);
        assert!(
            told.contains("tring/call/bob/bob") && told.contains("must let bob read \"tring/call/+/bob\""),
            "{told}"
        );
        let told = lost_on_the_way(&template, &alice, &bob, Echo::Missing);
        assert!(told.contains("must let alice write \"tring/call/alice/bob\""), "{told}");
        let told = lost_on_the_way(&template, &alice, &bob, Echo::Heard);
        assert!(told.contains("let bob read \"tring/call/+/bob\"") && told.contains("--id bob"), "{told}");
        let told = lost_on_the_way(&template, &alice, &bob, Echo::Unknown);
        assert!(told.contains("on both sides"), "{told}");
    }
}

//! Under which ClientId somebody looks on: never under the peer's own, whose program would be thrown off.

use crate::id::{Nonce, PeerId};

/// Between the ID and the four digits.
const MARK: &str = "-observer-";

/// Bytes of the ID that are kept: with mark and digits the ClientId is no longer than an ID may be.
const HEAD_BYTES_MAX: usize = 50;

/// `ID-observer-XXXX`, the digits drawn anew by each run.
pub(super) fn client_id(me: &PeerId, run: Nonce) -> PeerId {
    let text = format!("{}{MARK}{:04x}", head(me.as_str()), run.0 & 0xffff);
    text.parse().expect("an ID's own characters, a mark and hex digits, at most 64 of them")
}

/// True when `client` is the ClientId of somebody who looks on with the login of `user`.
#[must_use]
pub fn is_observer_of(client: &str, user: &PeerId) -> bool {
    let digits = client.strip_prefix(head(user.as_str())).and_then(|rest| rest.strip_prefix(MARK));
    digits.is_some_and(is_drawn)
}

/// True when `client` looks like the ClientId of somebody who only looks on, whosever.
#[must_use]
pub fn is_observer(client: &str) -> bool {
    let parts = client.rsplit_once(MARK);
    parts.is_some_and(|(head, digits)| !head.is_empty() && is_drawn(digits))
}

fn is_drawn(digits: &str) -> bool {
    digits.len() == 4 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn head(id: &str) -> &str {
    // An ID is ASCII, so it may be cut anywhere.
    &id[..id.len().min(HEAD_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    #[test]
    fn an_observer_has_a_name_of_its_own_that_tells_whose_it_is() {
        let long = "x".repeat(64);
        for me in ["alice", long.as_str()] {
            let client = client_id(&id(me), Nonce(0x1234_abcd));
            assert!(client.as_str().ends_with("-observer-abcd"), "{client}");
            assert!(is_observer_of(client.as_str(), &id(me)) && client != id(me));
            assert!(is_observer(client.as_str()));
        }
        for client in ["alice", "bob-observer-0000", "alice-observer-", "alice-observer-00000", "alice-observer-ABCD"] {
            assert!(!is_observer_of(client, &id("alice")), "{client}");
            assert!(client.starts_with("bob") || !is_observer(client), "{client}");
        }
    }
}

//! Randomness that nobody can guess, from the system's source: ids of calls and of runs, marks, passwords of our own
//! servers. The only place of this crate that draws any.

use ring::rand::{SecureRandom as _, SystemRandom};
use signalling::id::Nonce;

/// Names a run of the program, and with it its messages.
pub(crate) fn nonce() -> Nonce {
    Nonce(u64::from_ne_bytes(bytes()))
}

/// The 128 bits of a call's id.
pub(crate) fn call_bits() -> u128 {
    u128::from_ne_bytes(bytes())
}

/// A password for a server of our own: 128 bits as hex digits.
pub(crate) fn password() -> String {
    format!("{:032x}", call_bits())
}

/// What tells names apart that may be seen: the last `digits` (at most 16) hex digits of 64 random bits.
pub(crate) fn mark(digits: usize) -> String {
    let all = format!("{:016x}", nonce().0);
    all[all.len() - digits.min(all.len())..].to_owned()
}

/// Bytes of a key.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes; without them there is no TLS either");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_twice_and_lengths_are_as_said() {
        assert_ne!(nonce().0, nonce().0);
        assert_ne!(call_bits(), call_bits());
        assert_eq!((password().len(), mark(4).len(), mark(8).len(), mark(99).len()), (32, 4, 8, 16));
        assert!(mark(16).bytes().all(|digit| digit.is_ascii_hexdigit()));
    }
}

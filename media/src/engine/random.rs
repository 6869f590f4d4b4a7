//! Random numbers for RTP and DTLS.

/// SSRCs, first sequence numbers and first time stamps, which are to be random (RFC 3550 §5.1, §8).
pub(super) fn random_u32() -> u32 {
    u32::from_ne_bytes(random_bytes())
}

/// Bytes that nobody can guess.
pub(super) fn random_bytes<const LENGTH: usize>() -> [u8; LENGTH] {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; LENGTH];
    let drawn = ring::rand::SystemRandom::new().fill(&mut bytes);
    drawn.expect("the system gives random bytes; without them there is no DTLS either");
    bytes
}

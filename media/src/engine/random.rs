//! Random numbers for RTP.

/// SSRCs, first sequence numbers and first time stamps, which are to be random (RFC 3550 §5.1, §8).
pub(super) fn random_u32() -> u32 {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 4];
    let drawn = ring::rand::SystemRandom::new().fill(&mut bytes);
    drawn.expect("the system gives random bytes; without them there is no DTLS either");
    u32::from_ne_bytes(bytes)
}

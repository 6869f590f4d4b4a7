//! Bytes retained on a presence topic: what is read writes back and reads the same.

use signalling::wire::Presence;

pub(crate) fn run(data: &[u8]) {
    let presence = match Presence::from_bytes(data) {
        Ok(presence) => presence,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(data.len() <= 1024);
    let written = presence.to_bytes();
    assert_eq!(Presence::from_bytes(&written).expect("what was written can be read"), presence);
    let log = format!("{presence:?}");
    assert!(!log.contains(char::is_control), "a stranger writes to the log: {log:?}");
}

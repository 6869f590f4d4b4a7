//! Addresses of STUN and TURN servers: what is read writes back and reads the same.

use media::peer::config::IceUrl;

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let url: IceUrl = match text.parse() {
        Ok(url) => url,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(url.port > 0 && !url.host.is_empty());
    assert_eq!(url.to_string().parse(), Ok(url));
}

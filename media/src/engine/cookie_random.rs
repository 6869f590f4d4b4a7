//! Randomness for the engine, with one exception: the cookie of a DTLS server is the one that its offer told, see
//! [`crate::path::dtls_cookie`].
//!
//! The engine (`rtc-dtls` 0.21.1, `flight0`) draws the cookie when DTLS begins, and it is all that it ever draws in a piece
//! of [`COOKIE_BYTES`]. The cookie is told once, and only after it was asked for: nothing else can be taken for it.

use std::sync::{Arc, Mutex, PoisonError};

use webrtc::peer_connection::crypto::{self, CryptoError, RTCCrypto, RTCCryptoProvider, RTCRandom};

use crate::path::dtls_cookie::{COOKIE_BYTES, Cookie};

/// The cryptography of the engine's own provider.
pub(super) struct CookieProvider {
    inner: Arc<dyn RTCCryptoProvider>,
    random: Random,
}

struct Random {
    inner: Arc<dyn RTCCryptoProvider>,
    /// What the next cookie is to be.
    cookie: Mutex<Option<Cookie>>,
}

impl CookieProvider {
    /// Over the provider that the engine would choose.
    ///
    /// # Errors
    /// [`CryptoError`] when the engine was built without one.
    pub(super) fn new() -> Result<Self, CryptoError> {
        let inner = crypto::default_provider()?;
        let random = Random { inner: Arc::clone(&inner), cookie: Mutex::new(None) };
        Ok(Self { inner, random })
    }

    /// The next cookie that is drawn is this one.
    pub(super) fn set_cookie(&self, cookie: Cookie) {
        *self.random.cookie.lock().unwrap_or_else(PoisonError::into_inner) = Some(cookie);
    }
}

impl RTCCryptoProvider for CookieProvider {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self.inner.crypto()
    }

    fn random(&self) -> &dyn RTCRandom {
        &self.random
    }
}

impl RTCRandom for Random {
    fn fill(&self, output: &mut [u8]) -> Result<(), CryptoError> {
        self.inner.random().fill(output)?;
        if output.len() == COOKIE_BYTES
            && let Some(Cookie(bytes)) = self.cookie.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            output.copy_from_slice(&bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cookie_is_what_was_told_and_all_else_is_random() {
        let provider = CookieProvider::new().unwrap();
        let draw = |length: usize| {
            let mut bytes = vec![0; length];
            provider.random().fill(&mut bytes).unwrap();
            bytes
        };
        let told = Cookie([7; COOKIE_BYTES]);
        assert_ne!(draw(COOKIE_BYTES), told.0, "nothing was told");
        provider.set_cookie(told);
        for length in [8, 28, 32, 64] {
            assert!(draw(length).iter().any(|byte| *byte != 7), "{length} bytes");
        }
        assert_eq!(draw(COOKIE_BYTES), told.0);
        assert_ne!(draw(COOKIE_BYTES), told.0, "once");
    }
}

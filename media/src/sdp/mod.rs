//! Session descriptions (SDP): reading, judging and rewriting them. Pure; nobody else looks into their text.
//!
//! - [`description`]: reads one into a value, which the others ask
//! - [`negotiated`]: what offer and answer agreed on
//! - [`continuity`]: whether a description can follow those before it
//! - [`rewrite`]: ours as they are sent, theirs as the engine should read them
//! - [`interop`]: those of other makes
//! - [`early_answer`]: who takes an answer before the call is accepted
//! - [`dtls_cookie`]: what a DTLS server tells so that the handshake is shorter

pub(crate) mod continuity;
pub(crate) mod description;
pub(crate) mod dtls_cookie;
pub(crate) mod early_answer;
pub(crate) mod interop;
pub(crate) mod negotiated;
pub(crate) mod rewrite;

/// An answer with sound and pictures, for tests of this room.
#[cfg(test)]
const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 125 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=rtpmap:125 H264/90000\r\n";

//! Light media: what was encoded once is sent by every call of the program, and what comes is counted, not decoded.
//!
//! For many calls at once, where pictures and sound only have to be as real on the way as those of a camera.
//!
//! - [`loops`]: the test pattern and the test tone, encoded once a program, shared by all its calls
//! - out ([`sending`]): a loop, picture by picture, to [`crate::peer::MediaSender`]
//! - in ([`receiving`]): packet queues → [`crate::receive`] → the same figures as of decoded media, as far as arrival
//!   alone tells them; the others are unknown
//!
//! Never opens a device, never decodes, and has no threads: one task a medium sent, and one for all that comes.

mod loops;
mod receiving;
mod sending;
#[cfg(test)]
mod tests;

pub use loops::Looped;
pub use receiving::LightIncoming;
pub use sending::LightOutgoing;

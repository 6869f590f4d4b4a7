//! How connections over TCP are made, for brokers and for TURN servers alike. It knows neither MQTT nor media.
//!
//! - [`reach`]: a name → its addresses → attempts side by side (RFC 8305) → the tunnel of a proxy → a stream
//! - [`race`]: the attempts themselves: their order, and what each address said
//! - [`proxy`]: which proxy is on the way, and what is said to it. Pure
//! - [`tunnel`]: says it
//! - [`system_error`]: what the system says of files and sockets, in words

pub mod proxy;
pub mod race;
pub mod reach;
pub mod system_error;
pub mod tunnel;

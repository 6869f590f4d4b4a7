//! WHO calls and WHAT was agreed: no media type in sight.
//!
//! - [`call`]: the call machine, pure: event and time in, actions out
//! - [`wire`]: the messages two peers exchange, and their JSON form
//! - [`delivery`]: acknowledgement, resending, expiry and duplicate removal, pure
//! - [`dialect`]: which form messages have, tring's own or that of other clients, pure
//! - [`flood`]: how much of one sender is taken in, pure
//! - [`seal`]: messages and presence that the broker can neither read nor make up, pure
//! - [`topic`]: who publishes where
//! - [`mqtt`]: the only IO here; moves opaque payloads between peers
//!
//! Data flow out: [`call`] → [`dialect`] → [`delivery`] → [`wire`] bytes → [`mqtt`]; in: the same, backwards. Between `delivery` and
//! `mqtt` a message is one opaque envelope, so that sealing it end to end touches neither side.

pub mod call;
pub mod delivery;
pub mod dialect;
pub mod flood;
pub mod id;
pub mod mqtt;
pub mod seal;
pub mod topic;
pub mod wire;

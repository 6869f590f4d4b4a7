//! The path between the two sides: how it is looked for, and whether it is alive. Pure: the time, the addresses of this
//! machine and the datagrams come in; no sockets, no engine.
//!
//! - [`ice_server`]: which STUN and TURN servers are asked; [`server_log`]: what they answer, read with [`stun`];
//!   [`turn_error`]: what is wrong with one
//! - [`addresses`]: which addresses sockets are bound to, and when they are out of date
//! - [`candidates`]: which candidates are taken, and in which order ours are offered; [`remote_addresses`]: their kinds
//! - [`receive_counter`]: whether anything comes; [`watch`]: what follows from that; [`early`]: what comes too soon
//! - [`nomination`]: how a pair is nominated without a second check
//! - [`dtls_flights`]: which datagrams of the DTLS handshake are sent again, and when; reads them with [`dtls`];
//!   [`dtls_cookie`]: the part of it that is left out
//! - [`relay_family`]: asks a TURN server without IPv4 for an IPv6 address
//! - [`stand_in`]: addresses that stand for TURN servers over TCP and TLS; [`stream_messages`], [`stream_queue`] and
//!   [`stream_gate`]: what goes into a stream, in which order, and when; [`stream_fault`]: why there is none
//! - [`pair`]: the two ends of the path in use

pub(crate) mod addresses;
pub(crate) mod candidates;
pub(crate) mod dtls;
pub(crate) mod dtls_cookie;
pub(crate) mod dtls_flights;
pub(crate) mod early;
pub(crate) mod ice_server;
pub(crate) mod nomination;
pub(crate) mod pair;
pub(crate) mod receive_counter;
pub(crate) mod relay_family;
pub(crate) mod remote_addresses;
pub(crate) mod server_log;
pub(crate) mod stand_in;
pub(crate) mod stream_fault;
pub(crate) mod stream_gate;
pub(crate) mod stream_messages;
pub(crate) mod stream_queue;
pub(crate) mod stun;
pub(crate) mod turn_error;
pub(crate) mod watch;

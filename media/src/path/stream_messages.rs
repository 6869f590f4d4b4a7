//! What of the engine's datagrams to a TURN server goes into a stream (RFC 8656 §3.1), and in which lane. Pure.
//!
//! - a request is sent once: TCP delivers it, so what the engine sends again is left out (RFC 8489 §6.2.2)
//! - [`classify`]: what a message carries, so that sound goes before pictures where the stream is narrow
//! - [`HeadStart`]: connectivity checks of a stream wait for a moment where a better relay may win

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::ice_server::IceTransport;
use super::stun::{self, Class, Method};

/// Requests kept in mind. The engine has a handful under way, and sends one again for some seconds.
const REQUESTS_MAX: usize = 64;

/// ChannelData on a stream is padded to a multiple of so many bytes (RFC 8656 §12.5).
const PADDING: usize = 4;

/// Header of ChannelData: channel and length (RFC 8656 §12.4).
const CHANNEL_HEADER: usize = 4;

/// How much later than those of the next better transport checks of a stream begin. Several rounds of checks, which are
/// 30 ms apart; less than anybody notices.
const HEAD_START: Duration = Duration::from_millis(60);

/// How important a message is, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// TURN requests, ICE checks, the DTLS handshake, RTCP: small, and the call needs them.
    Control,
    /// Our sound.
    Sound,
    /// Pictures, and their retransmissions.
    Pictures,
}

/// What a datagram to a TURN server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// A request of TURN, by its transaction.
    Request([u8; 12]),
    /// A connectivity check of ICE for a peer.
    Check,
    /// Anything else for a peer.
    ToPeer(Lane),
}

/// What a datagram is; `None` for what is no message of TURN, which has no place in the stream. `sound` is the SSRC of our
/// sound, which SRTP leaves readable (RFC 3711 §3.1).
pub(crate) fn classify(datagram: &[u8], sound: u32) -> Option<Outgoing> {
    if let Some(carried) = channel_data(datagram) {
        return Some(carries(carried, sound));
    }
    let message = stun::Message::read(datagram)?;
    match (message.method, message.class) {
        (Method::Binding, _) => None,
        (Method::Send, Class::Indication) => Some(carries(message.data().unwrap_or_default(), sound)),
        (_, Class::Request) => Some(Outgoing::Request(message.transaction)),
        (_, Class::Indication | Class::Success | Class::Error) => Some(Outgoing::ToPeer(Lane::Control)),
    }
}

/// True for a connectivity check, or the answer to one, that came for us through the server.
pub(crate) fn is_incoming_check(datagram: &[u8]) -> bool {
    let carried = channel_data(datagram).or_else(|| {
        let message = stun::Message::read(datagram)?;
        (message.method == Method::Data).then(|| message.data()).flatten()
    });
    carried.is_some_and(is_check)
}

/// What ChannelData carries.
fn channel_data(datagram: &[u8]) -> Option<&[u8]> {
    let [0x40..=0x4f, _, high, low, rest @ ..] = datagram else { return None };
    rest.get(..usize::from(u16::from_be_bytes([*high, *low])))
}

fn is_check(carried: &[u8]) -> bool {
    stun::Message::read(carried).is_some_and(|message| message.method == Method::Binding)
}

/// What is carried to a peer (RFC 7983: told apart by the first byte).
fn carries(carried: &[u8], sound: u32) -> Outgoing {
    match carried {
        // RTCP (RFC 5761 §4).
        [128..=191, 192..=223, ..] => Outgoing::ToPeer(Lane::Control),
        [128..=191, _, _, _, _, _, _, _, a, b, c, d, ..] => {
            let is_sound = u32::from_be_bytes([*a, *b, *c, *d]) == sound;
            Outgoing::ToPeer(if is_sound { Lane::Sound } else { Lane::Pictures })
        }
        _ if is_check(carried) => Outgoing::Check,
        _ => Outgoing::ToPeer(Lane::Control),
    }
}

/// A message as it goes on the stream.
pub(crate) fn padded(datagram: &[u8]) -> Vec<u8> {
    let mut message = datagram.to_vec();
    if matches!(datagram, [0x40..=0x4f, ..]) && datagram.len() >= CHANNEL_HEADER {
        message.resize(datagram.len().next_multiple_of(PADDING), 0);
    }
    message
}

/// Requests that are on the stream.
#[derive(Debug, Default)]
pub(crate) struct Requests(VecDeque<[u8; 12]>);

impl Requests {
    /// True the first time; a request that the engine sends again is on the stream already.
    pub(crate) fn is_new(&mut self, transaction: [u8; 12]) -> bool {
        if self.0.contains(&transaction) {
            return false;
        }
        if self.0.len() >= REQUESTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(transaction);
        true
    }
}

/// Lets relays over better transports win at an equal round trip. The engine gives all relayed candidates the same
/// priority and nominates the pair whose check is answered first, so checks over a stream begin a little later: those over
/// TCP after those over UDP, those over TLS after both. Without a better relay they begin at once.
#[derive(Debug)]
pub(crate) struct HeadStart {
    transport: IceTransport,
    first_check: Option<Instant>,
}

impl HeadStart {
    /// For a stream over this transport.
    pub(crate) const fn of(transport: IceTransport) -> Self {
        Self { transport, first_check: None }
    }

    /// True when a check has to wait, which the engine repeats. `best` is the best transport over which some server has
    /// given a relay address.
    pub(crate) fn holds(&mut self, best: Option<IceTransport>, now: Instant) -> bool {
        let since = *self.first_check.get_or_insert(now);
        let wait = match (best, self.transport) {
            (None, _) | (Some(_), IceTransport::Udp) | (Some(IceTransport::Tls), _) => return false,
            (Some(IceTransport::Tcp), IceTransport::Tcp) => return false,
            (Some(IceTransport::Udp), IceTransport::Tls) => HEAD_START * 2,
            (Some(IceTransport::Udp), IceTransport::Tcp) | (Some(IceTransport::Tcp), IceTransport::Tls) => HEAD_START,
        };
        now.saturating_duration_since(since) < wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: u32 = 0x0102_0304;

    fn rtp(payload_type: u8, ssrc: u32) -> Vec<u8> {
        [&[0x80, payload_type, 0, 1, 0, 0, 0, 0][..], &ssrc.to_be_bytes(), &[7; 20]].concat()
    }

    fn channel(carried: &[u8]) -> Vec<u8> {
        let length = u16::try_from(carried.len()).unwrap().to_be_bytes();
        [&[0x40, 0x01][..], &length, carried].concat()
    }

    fn send(carried: &[u8]) -> Vec<u8> {
        stun::write(0x0016, [3; 12], &[(0x0012, &[0, 1, 0, 0, 0, 0, 0, 0]), (0x0013, carried)])
    }

    #[test]
    fn what_is_carried_is_told_apart() {
        let check = stun::write(0x0001, [1; 12], &[(0x0006, b"a:b")]);
        for (carried, expected) in [
            (rtp(111, SOUND), Outgoing::ToPeer(Lane::Sound)),
            // RED, or any other type that was agreed on; with the marker too.
            (rtp(63, SOUND), Outgoing::ToPeer(Lane::Sound)),
            (rtp(0x80 | 111, SOUND), Outgoing::ToPeer(Lane::Sound)),
            (rtp(96, 9), Outgoing::ToPeer(Lane::Pictures)),
            (rtp(0x80 | 97, 10), Outgoing::ToPeer(Lane::Pictures)),
            (rtp(205, SOUND), Outgoing::ToPeer(Lane::Control)),
            (vec![22, 254, 253, 0, 0], Outgoing::ToPeer(Lane::Control)),
            (check.clone(), Outgoing::Check),
            (Vec::new(), Outgoing::ToPeer(Lane::Control)),
            (vec![0x80, 111], Outgoing::ToPeer(Lane::Control)),
        ] {
            assert_eq!(classify(&channel(&carried), SOUND), Some(expected), "{carried:?}");
            assert_eq!(classify(&send(&carried), SOUND), Some(expected), "{carried:?}");
        }
        assert!(is_incoming_check(&channel(&check)));
        assert!(is_incoming_check(&stun::write(0x0017, [3; 12], &[(0x0013, &check)])));
        assert!(!is_incoming_check(&channel(&rtp(111, SOUND))) && !is_incoming_check(&check));
    }

    #[test]
    fn only_turn_goes_into_the_stream() {
        let allocate = stun::write(0x0003, [5; 12], &[]);
        assert_eq!(classify(&allocate, SOUND), Some(Outgoing::Request([5; 12])));
        // A check that a peer wants by naming a stand-in as its address; media that is not wrapped; rubbish.
        for other in [stun::write(0x0001, [1; 12], &[]), rtp(96, 1), vec![22, 254, 253], vec![], vec![0x40, 0, 0, 9, 1]]
        {
            assert_eq!(classify(&other, SOUND), None, "{other:?}");
        }
    }

    #[test]
    fn channel_data_is_padded_and_nothing_else() {
        assert_eq!(padded(&channel(b"abc")), [&channel(b"abc")[..], &[0]].concat());
        assert_eq!(padded(&channel(b"abcd")), channel(b"abcd"));
        let allocate = stun::write(0x0003, [5; 12], &[]);
        assert_eq!(padded(&allocate), allocate);
    }

    #[test]
    fn a_request_goes_out_once() {
        let mut requests = Requests::default();
        assert!(requests.is_new([1; 12]));
        assert!(!requests.is_new([1; 12]));
        for n in 0..200 {
            assert!(requests.is_new([n; 12]) == (n != 1), "{n}");
        }
        assert_eq!(requests.0.len(), REQUESTS_MAX);
    }

    #[test]
    fn better_relays_check_first() {
        use IceTransport::{Tcp, Tls, Udp};
        let start = Instant::now();
        for (transport, best, wait_ms) in [
            (Tcp, None, 0),
            (Tcp, Some(Udp), 60),
            (Tcp, Some(Tcp), 0),
            (Tcp, Some(Tls), 0),
            (Tls, None, 0),
            (Tls, Some(Udp), 120),
            (Tls, Some(Tcp), 60),
            (Tls, Some(Tls), 0),
        ] {
            let mut head_start = HeadStart::of(transport);
            let waited = (0..1000u64).find(|ms| !head_start.holds(best, start + Duration::from_millis(*ms)));
            assert_eq!(waited, Some(wait_ms), "{transport:?} beside {best:?}");
        }
    }
}

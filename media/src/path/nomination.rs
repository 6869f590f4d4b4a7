//! Nomination with the first check (RFC 8445 §8.1.1 leaves the time to the side that nominates). Pure: datagrams of both
//! directions come in, and what becomes of each goes out.
//!
//! The engine (`rtc-ice` 0.21.1) checks a pair first, and nominates it by a second check, at its next tick after the first
//! has succeeded. Until that has arrived the other side does not begin DTLS: more than a round trip is lost. So here:
//!
//! - nominating side: the checks of a pair nominate it from the first one on. When one has succeeded, the engine's own
//!   nomination is answered here, and does not leave. It makes it at once, since a check of the other side is put before it
//!   once more
//! - other side: a nomination that comes before our own check of the pair has succeeded is not answered by the engine, and
//!   forgotten. It is put before it again when the check has succeeded (RFC 8445 §7.3.1.5 wants it remembered)
//!
//! One pair of host candidates and one of others is nominated so, the first that is checked: that is the best one. A
//! relayed pair is not: it may win the race and would keep the call.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;

use super::stun::{self, Class, Message, Method};

/// Pairs that anything is remembered of: each has a candidate of the other side, and those are bounded.
const PAIRS_MAX: usize = 256;

/// Checks of a pair that wait for an answer: a second's worth.
const CHECKS_MAX: usize = 40;

/// Our socket's address and the other side's.
pub(crate) type Pair = (SocketAddr, SocketAddr);

/// What becomes of a datagram of the engine's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// It leaves as it is.
    AsItIs,
    /// This leaves in its place.
    Instead(Vec<u8>),
    /// It does not leave, and this comes to the engine.
    Answered(Vec<u8>),
    /// It does not leave.
    Dropped,
}

/// The pairs of one path, until one is selected.
#[derive(Debug)]
pub(crate) struct Nominations {
    /// The other side's password, by which checks are signed; `None` when only their nominations are remembered.
    password: Option<String>,
    /// Host candidates of the other side, and relayed ones.
    hosts: BTreeSet<SocketAddr>,
    relays: BTreeSet<SocketAddr>,
    /// The pairs that are nominated with the first check.
    host_pair: Option<Pair>,
    other_pair: Option<Pair>,
    pairs: BTreeMap<Pair, Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Checks of ours that nominate, and wait for their answer.
    asked: Vec<[u8; 12]>,
    /// The other side has agreed to a nomination.
    is_agreed: bool,
    /// The last check of the other side.
    theirs: Option<Check>,
    /// A check of theirs that was put before the engine once more, after it had been answered.
    repeated: Option<[u8; 12]>,
}

#[derive(Debug)]
struct Check {
    transaction: [u8; 12],
    contents: Bytes,
    nominates: bool,
    is_answered: bool,
}

impl Nominations {
    /// For the side that nominates; `password`: that of the other side.
    pub(crate) fn by_us(password: String) -> Self {
        Self::new(Some(password))
    }

    /// For the side that is told.
    pub(crate) fn by_them() -> Self {
        Self::new(None)
    }

    fn new(password: Option<String>) -> Self {
        Self {
            password,
            hosts: BTreeSet::new(),
            relays: BTreeSet::new(),
            host_pair: None,
            other_pair: None,
            pairs: BTreeMap::new(),
        }
    }

    /// Takes note of a host candidate of the other side.
    pub(crate) fn host(&mut self, address: SocketAddr) {
        self.hosts.insert(address);
    }

    /// Takes note of a relayed candidate of the other side.
    pub(crate) fn relay(&mut self, address: SocketAddr) {
        self.relays.insert(address);
    }

    /// The engine sends a datagram.
    pub(crate) fn sends(&mut self, pair: Pair, datagram: &[u8]) -> Outgoing {
        let Some(message) = Message::read(datagram).filter(|message| message.method == Method::Binding) else {
            return Outgoing::AsItIs;
        };
        match message.class {
            Class::Success => self.answers(pair, message.transaction),
            Class::Request if message.is_controlling() => self.checks(pair, datagram, &message),
            Class::Request | Class::Error | Class::Indication => Outgoing::AsItIs,
        }
    }

    /// A datagram came; what the engine gets after it.
    pub(crate) fn receives(&mut self, pair: Pair, datagram: &[u8]) -> Option<Bytes> {
        let message = Message::read(datagram).filter(|message| message.method == Method::Binding)?;
        let is_by_us = self.password.is_some();
        match message.class {
            Class::Request => {
                self.known(pair)?.theirs = Some(Check {
                    transaction: message.transaction,
                    contents: Bytes::copy_from_slice(datagram),
                    nominates: message.nominates(),
                    is_answered: false,
                });
                None
            }
            Class::Success if is_by_us => {
                let known = self.pairs.get_mut(&pair)?;
                if !known.asked.contains(&message.transaction) {
                    return None;
                }
                known.is_agreed = true;
                let theirs = known.theirs.as_ref()?;
                known.repeated = theirs.is_answered.then_some(theirs.transaction);
                Some(theirs.contents.clone())
            }
            Class::Success => {
                let theirs =
                    self.pairs.get(&pair)?.theirs.as_ref().filter(|theirs| theirs.nominates && !theirs.is_answered)?;
                Some(theirs.contents.clone())
            }
            Class::Error | Class::Indication => None,
        }
    }

    /// The engine answers a check of theirs: once.
    fn answers(&mut self, pair: Pair, transaction: [u8; 12]) -> Outgoing {
        let Some(known) = self.pairs.get_mut(&pair) else { return Outgoing::AsItIs };
        if known.repeated.take_if(|repeated| *repeated == transaction).is_some() {
            return Outgoing::Dropped;
        }
        if let Some(theirs) = known.theirs.as_mut().filter(|theirs| theirs.transaction == transaction) {
            theirs.is_answered = true;
        }
        Outgoing::AsItIs
    }

    /// The engine checks a pair, as the side that nominates.
    fn checks(&mut self, pair: Pair, datagram: &[u8], message: &Message<'_>) -> Outgoing {
        let Some(password) = self.password.clone() else { return Outgoing::AsItIs };
        if message.nominates() {
            let is_agreed = self.pairs.get(&pair).is_some_and(|known| known.is_agreed);
            return match is_agreed {
                true => Outgoing::Answered(stun::success(message.transaction, &password)),
                false => Outgoing::AsItIs,
            };
        }
        if !self.is_first(pair) {
            return Outgoing::AsItIs;
        }
        let Some(nominating) = stun::nominating(datagram, &password) else { return Outgoing::AsItIs };
        let Some(known) = self.known(pair) else { return Outgoing::AsItIs };
        if known.asked.len() == CHECKS_MAX {
            known.asked.remove(0);
        }
        known.asked.push(message.transaction);
        Outgoing::Instead(nominating)
    }

    /// True for the first pair of its kind.
    fn is_first(&mut self, pair: Pair) -> bool {
        if self.relays.contains(&pair.1) {
            return false;
        }
        let first = if self.hosts.contains(&pair.1) { &mut self.host_pair } else { &mut self.other_pair };
        *first.get_or_insert(pair) == pair
    }

    fn known(&mut self, pair: Pair) -> Option<&mut Known> {
        if self.pairs.len() == PAIRS_MAX && !self.pairs.contains_key(&pair) {
            return None;
        }
        Some(self.pairs.entry(pair).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "of the other side";

    fn pair(last: u8) -> Pair {
        (SocketAddr::from(([10, 0, 0, 1], 1000)), SocketAddr::from(([10, 0, 1, last], 2000)))
    }

    fn check(number: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        stun::write(0x0001, [number; 12], attributes)
    }

    /// A check of the side that nominates, and of the other.
    fn controlling(number: u8) -> Vec<u8> {
        check(number, &[(0x802a, &[0; 8])])
    }

    fn controlled(number: u8) -> Vec<u8> {
        check(number, &[(0x8029, &[0; 8])])
    }

    fn nomination(number: u8) -> Vec<u8> {
        check(number, &[(0x802a, &[0; 8]), (0x0025, &[])])
    }

    fn success(number: u8) -> Vec<u8> {
        stun::success([number; 12], PASSWORD)
    }

    #[test]
    fn a_pair_is_nominated_with_its_first_check() {
        let mut ours = Nominations::by_us(PASSWORD.to_owned());
        ours.host(pair(1).1);
        let Outgoing::Instead(sent) = ours.sends(pair(1), &controlling(1)) else { panic!("not nominated") };
        assert!(Message::read(&sent).unwrap().nominates());
        // Not agreed on yet: the engine's own nomination leaves.
        assert_eq!(ours.sends(pair(1), &nomination(2)), Outgoing::AsItIs);
        // The other side's check was answered before.
        assert_eq!(ours.receives(pair(1), &controlled(9)), None);
        assert_eq!(ours.sends(pair(1), &success(9)), Outgoing::AsItIs);
        assert_eq!(
            ours.receives(pair(1), &success(1)),
            Some(controlled(9).into()),
            "so that the engine goes on at once"
        );
        assert_eq!(ours.sends(pair(1), &success(9)), Outgoing::Dropped, "the answer has left already");
        assert_eq!(ours.sends(pair(1), &nomination(3)), Outgoing::Answered(success(3)));
    }

    #[test]
    fn one_pair_of_each_kind_is_nominated_so_and_none_that_is_relayed() {
        let mut ours = Nominations::by_us(PASSWORD.to_owned());
        for last in [1, 2] {
            ours.host(pair(last).1);
        }
        ours.relay(pair(3).1);
        let nominates = |ours: &mut Nominations, last| ours.sends(pair(last), &controlling(1)) != Outgoing::AsItIs;
        let nominated: Vec<bool> = [3, 1, 2, 4, 5, 1, 4].map(|last| nominates(&mut ours, last)).into();
        assert_eq!(nominated, [false, true, false, true, false, true, true]);
    }

    #[test]
    fn a_nomination_that_comes_too_early_is_remembered() {
        let mut theirs = Nominations::by_them();
        assert_eq!(theirs.sends(pair(1), &controlled(1)), Outgoing::AsItIs);
        assert_eq!(theirs.receives(pair(1), &nomination(9)), None);
        assert_eq!(theirs.receives(pair(2), &success(1)), None, "of another pair");
        assert_eq!(theirs.receives(pair(1), &success(1)), Some(nomination(9).into()));
        assert_eq!(theirs.sends(pair(1), &success(9)), Outgoing::AsItIs, "it was not answered before");
        assert_eq!(theirs.receives(pair(1), &success(2)), None, "now it was");
    }

    #[test]
    fn an_ordinary_check_is_put_before_the_engine_once() {
        let mut theirs = Nominations::by_them();
        assert_eq!(theirs.receives(pair(1), &controlling(9)), None);
        assert_eq!(theirs.receives(pair(1), &success(1)), None);
    }

    #[test]
    fn what_is_no_check_of_this_path_leaves_as_it_is() {
        let mut ours = Nominations::by_us(PASSWORD.to_owned());
        let indication = stun::write(0x0016, [1; 12], &[(0x0013, &controlling(1))]);
        for datagram in [vec![22, 254, 253], vec![0x80; 40], indication, stun::write(0x0003, [1; 12], &[]), Vec::new()]
        {
            assert_eq!(ours.sends(pair(1), &datagram), Outgoing::AsItIs);
            assert_eq!(ours.receives(pair(1), &datagram), None);
        }
        // To a STUN server: nobody nominates there.
        assert_eq!(ours.sends(pair(1), &check(1, &[])), Outgoing::AsItIs);
        // An answer to a check that did not nominate.
        assert_eq!(ours.receives(pair(1), &success(4)), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut ours = Nominations::by_us(PASSWORD.to_owned());
        for number in 0..2000u16 {
            let from = SocketAddr::from(([10, 0, 2, 1], 1 + number));
            ours.receives((pair(1).0, from), &controlled(1));
            ours.sends(pair(1), &controlling(1));
        }
        assert_eq!(ours.pairs.len(), PAIRS_MAX);
        assert!(ours.pairs.values().all(|known| known.asked.len() <= CHECKS_MAX));
    }
}

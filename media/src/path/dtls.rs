//! Reads what is plain in DTLS 1.2 records (RFC 6347 §4.1), as far as [`super::dtls_flights`] needs. Input comes from
//! strangers: nothing panics, nothing is copied.

use super::stun::{self, Class, Method};

/// Length of a record's header, and of a handshake message's (RFC 6347 §4.2.2).
const HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Level of an alert.
const FATAL: u8 = 2;

/// One part of a handshake: the same in every copy of it, whichever number its record has. In the order of the
/// handshake for the records of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The first handshake message of a plain record, or a fragment of it.
    Message {
        /// Its number among the messages of this side.
        number: u16,
        /// Where in the message the fragment begins, in bytes.
        offset: u32,
    },
    ChangeCipherSpec,
    /// A handshake message that is encrypted: in DTLS 1.2 that is Finished alone.
    Finished,
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Handshake(Part),
    /// A plain alert that ends the handshake: one side refuses the other (RFC 5246 §7.2.2).
    Refusal,
    /// Another alert: one side closes, or it is encrypted.
    Alert,
    /// Application data, encrypted.
    Data,
}

/// The records of a datagram; it ends at the first that is cut off, or is none.
pub(crate) fn records(datagram: &[u8]) -> impl Iterator<Item = Record> + '_ {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let (header, after) = rest.split_at_checked(HEADER)?;
        // DTLS 1.0 and 1.2: a first ClientHello may have either.
        let [kind, 254, 253 | 255, epoch @ ..] = header else { return None };
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let (body, after) = after.split_at_checked(length)?;
        rest = after;
        record(*kind, epoch.starts_with(&[0, 0]), body)
    })
}

fn record(kind: u8, is_plain: bool, body: &[u8]) -> Option<Record> {
    match (kind, is_plain) {
        (CHANGE_CIPHER_SPEC, _) => Some(Record::Handshake(Part::ChangeCipherSpec)),
        (ALERT, true) if body.first() == Some(&FATAL) => Some(Record::Refusal),
        (ALERT, _) => Some(Record::Alert),
        (HANDSHAKE, true) => match body.get(..MESSAGE_HEADER)? {
            [_, _, _, _, high, low, a, b, c, ..] => Some(Record::Handshake(Part::Message {
                number: u16::from_be_bytes([*high, *low]),
                offset: u32::from_be_bytes([0, *a, *b, *c]),
            })),
            _ => None,
        },
        (HANDSHAKE, false) => Some(Record::Handshake(Part::Finished)),
        (APPLICATION_DATA, false) => Some(Record::Data),
        _ => None,
    }
}

/// What a datagram is for the other side: itself, or what a TURN server passes on in it, by channel (RFC 8656 §12.4) or
/// by indication (§11).
pub(crate) fn carried(datagram: &[u8]) -> &[u8] {
    match datagram {
        [64..=79, _, high, low, rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            rest.get(..length).unwrap_or_default()
        }
        [0..=3, ..] => match stun::Message::read(datagram) {
            Some(message) if message.class == Class::Indication => match message.method {
                Method::Send | Method::Data => message.data().unwrap_or_default(),
                _ => datagram,
            },
            Some(_) | None => datagram,
        },
        _ => datagram,
    }
}

/// True of RTP and RTCP, encrypted or not (RFC 7983 §7).
pub(crate) fn is_media(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, ..])
}

/// True of DTLS (RFC 7983 §7).
pub(crate) fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram, [20..=63, ..])
}

/// Records, for tests: an encrypted body is what it is.
#[cfg(test)]
pub(crate) mod made {
    use super::{CHANGE_CIPHER_SPEC, HANDSHAKE};

    pub(crate) fn record(kind: u8, epoch: u8, sequence: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(body.len()).unwrap();
        [&[kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, sequence, 0, length][..], body].concat()
    }

    /// A record with the handshake message of this number.
    pub(crate) fn message(number: u8, sequence: u8) -> Vec<u8> {
        record(HANDSHAKE, 0, sequence, &[1, 0, 0, 1, 0, number, 0, 0, 0, 0, 0, 1, 7])
    }

    /// The end of a flight: `ChangeCipherSpec` and Finished.
    pub(crate) fn end(sequence: u8) -> Vec<u8> {
        [record(CHANGE_CIPHER_SPEC, 0, sequence, &[1]), record(HANDSHAKE, 1, sequence, &[9; 40])].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::made::{end, message, record};
    use super::*;

    #[test]
    fn records_are_told_apart() {
        let alerts = [record(ALERT, 1, 8, &[2; 20]), record(ALERT, 0, 9, &[1, 0]), record(ALERT, 0, 9, &[2, 42])];
        let flight = [message(2, 5), message(3, 6), end(7), alerts.concat()].concat();
        let read: Vec<Record> = records(&flight).collect();
        let part = |number| Record::Handshake(Part::Message { number, offset: 0 });
        let finished = Record::Handshake(Part::Finished);
        assert_eq!(
            read,
            [
                part(2),
                part(3),
                Record::Handshake(Part::ChangeCipherSpec),
                finished,
                Record::Alert,
                Record::Alert,
                Record::Refusal
            ],
            "a handshake and how it may end"
        );
        assert_eq!(records(&record(APPLICATION_DATA, 1, 0, b"data")).collect::<Vec<_>>(), [Record::Data]);
        assert_eq!(records(&record(APPLICATION_DATA, 0, 0, b"data")).count(), 0, "plain data is no data");
        assert!(Part::Message { number: 9, offset: 5 } < Part::ChangeCipherSpec);
        assert!(Part::ChangeCipherSpec < Part::Finished);
    }

    #[test]
    fn what_is_cut_off_or_no_record_is_none() {
        let whole = message(1, 0);
        for length in 0..whole.len() {
            assert_eq!(records(&whole[..length]).count(), 0, "{length}");
        }
        for wrong in [&[22; 60][..], &[0x80; 60], &[], &record(HANDSHAKE, 0, 0, &[1; 11]), &record(24, 1, 0, &[1])] {
            assert_eq!(records(wrong).count(), 0, "{wrong:?}");
        }
    }

    #[test]
    fn a_relayed_datagram_is_what_it_carries() {
        let hello = message(0, 0);
        let length = u8::try_from(hello.len()).unwrap();
        let channel = [&[0x40, 1, 0, length][..], &hello, &[0; 3]].concat();
        let peer = [0, 1, 1, 2, 3, 4, 5, 6];
        let indication = |kind| stun::write(kind, [7; 12], &[(0x0012, &peer), (0x0013, &hello)]);
        for relayed in [channel.clone(), indication(0x0016), indication(0x0017), hello.clone()] {
            assert_eq!(carried(&relayed), hello);
        }
        let allocation = indication(0x0003);
        assert_eq!(carried(&allocation), allocation, "a request carries nothing");
        assert_eq!(carried(&channel[..20]), b"", "cut off");
        assert_eq!(carried(&stun::write(0x0017, [7; 12], &[])), b"", "without data");
        assert_eq!(carried(&[]), b"");
    }
}

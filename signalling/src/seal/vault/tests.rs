//! Who is spoken to, and how, under every attack of a broker.

use super::*;
use crate::id::{CallId, Nonce};
use crate::wire::{Description, PresenceState};

fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

fn run(n: u64) -> MessageId {
    MessageId::numbered(Nonce(n), 0)
}

fn keys(n: u8) -> Arc<SecretKeys> {
    Arc::new(SecretKeys::from_bytes([n; 64]).unwrap())
}

fn words(n: u8) -> String {
    keys(n).public().fingerprint().words()
}

const R: [[u8; 32]; 2] = [[1; 32], [2; 32]];
const FOREIGN: Policy = Policy { plain: Plain::Allowed, strangers: Strangers::Welcome };
const SEALED: Policy = Policy { plain: Plain::Refused, strangers: Strangers::Welcome };

/// One side: its vault, and what it would publish as its presence.
struct Side {
    vault: Vault,
    me: PeerId,
    run: MessageId,
    count: u64,
    now: Instant,
}

impl Side {
    fn new(me: &str, key: u8, policy: Policy) -> Self {
        let run = run(u64::from(key));
        let vault = Vault::new(id(me), run.clone(), keys(key), policy);
        Self { vault, me: id(me), run, count: 0, now: Instant::now() }
    }

    fn knows(mut self, peer: &str, key: u8, opinion: Opinion) -> Self {
        let acquaintance = Acquaintance { words: Some(words(key)), opinion };
        self.vault.remember(Arc::new([(id(peer), acquaintance)].into()));
        self
    }

    fn presence(&mut self, state: PresenceState) -> Vec<u8> {
        self.count += 1;
        let presence = Presence { v: VERSION, state, run: self.run.clone(), seal: None };
        self.vault.sign(presence, 1000, 1000 + self.count).to_bytes()
    }

    /// As a program says it that does not seal.
    fn plain_presence(&self, state: PresenceState) -> Vec<u8> {
        Presence { v: VERSION, state, run: self.run.clone(), seal: None }.to_bytes()
    }

    fn envelope(&mut self, to: &str, message: Message) -> Vec<u8> {
        self.count += 1;
        let content = Content::Call { call: CallId::from_random(7), message };
        let id_ = MessageId::try_from(format!("{}-{}", self.me, self.count)).unwrap();
        let envelope = Envelope { v: VERSION, id: id_, from: self.me.clone(), to: id(to), ts: self.count, content };
        envelope.to_bytes().unwrap()
    }

    fn offer(&mut self, to: &str) -> Vec<u8> {
        self.envelope(to, Message::Offer(Description::new("v=0\r\n".into(), vec![])))
    }

    fn says(&mut self, to: &str) -> Result<Vec<u8>, Unsent> {
        let envelope = self.offer(to);
        self.vault.outgoing(&id(to), &envelope, R[0], self.now)
    }

    fn hears(&mut self, from: &str, bytes: &[u8]) -> Result<Heard, Dropped> {
        self.vault.incoming(&id(from), bytes, R, (self.now, 5000))
    }
}

fn ready(state: PresenceState) -> News {
    News::State { state: Some(state), is_ready: true }
}

#[test]
fn two_who_never_met_speak_sealed_after_one_presence() {
    let (mut alice, mut bob) = (Side::new("alice", 1, SEALED), Side::new("bob", 2, SEALED));
    assert!(matches!(alice.says("bob"), Err(Unsent::Waiting)));
    let presence = bob.presence(PresenceState::Available);
    assert_eq!(alice.vault.presence(&id("bob"), &presence), ready(PresenceState::Available));
    let heard = bob.hears("alice", &alice.says("bob").unwrap()).unwrap();
    assert_eq!(heard.standing, Standing::Sealed { keys: *keys(1).public(), trust: Trust::First });
    // And back, with nothing more than the message.
    let heard = alice.hears("bob", &bob.says("alice").unwrap()).unwrap();
    assert_eq!(heard.standing, Standing::Sealed { keys: *keys(2).public(), trust: Trust::First });
}

#[test]
fn who_is_remembered_is_told_from_who_is_verified() {
    for (opinion, trust) in [(Opinion::Known, Trust::Known), (Opinion::Verified, Trust::Verified)] {
        let mut alice = Side::new("alice", 1, SEALED);
        let mut bob = Side::new("bob", 2, SEALED).knows("alice", 1, opinion);
        alice.vault.presence(&id("bob"), &bob.presence(PresenceState::Available));
        let heard = bob.hears("alice", &alice.says("bob").unwrap()).unwrap();
        assert_eq!(heard.standing, Standing::Sealed { keys: *keys(1).public(), trust });
    }
}

#[test]
fn a_changed_key_is_refused_by_the_caller_and_by_the_callee() {
    // The caller learns it from presence.
    let mut alice = Side::new("alice", 1, SEALED).knows("bob", 2, Opinion::Known);
    let mut mallory = Side::new("bob", 3, SEALED);
    let changed = Distrust::Changed { peer: id("bob"), before: words(2), now: words(3) };
    let presence = mallory.presence(PresenceState::Available);
    assert_eq!(alice.vault.presence(&id("bob"), &presence), News::Distrusted(changed));
    assert!(matches!(alice.says("bob"), Err(Unsent::Waiting)));
    // The callee learns it from the offer, and says so to whoever has that key.
    let mut bob = Side::new("bob", 2, SEALED).knows("alice", 1, Opinion::Known);
    let mut other = Side::new("alice", 3, SEALED);
    other.vault.presence(&id("bob"), &bob.presence(PresenceState::Available));
    let offer = other.says("bob").unwrap();
    let Err(Dropped::Distrusted { why, reply }) = bob.hears("alice", &offer) else { panic!("taken in") };
    assert_eq!(why, Distrust::Changed { peer: id("alice"), before: words(1), now: words(3) });
    let said: Vec<Envelope> =
        reply.iter().map(|bytes| Envelope::from_bytes(&other.hears("bob", bytes).unwrap().payload).unwrap()).collect();
    assert!(matches!(&said[0].content, Content::Ack(_)));
    let bye = Message::bye(ByeReason::Identity);
    assert!(matches!(&said[1].content, Content::Call { message, .. } if *message == bye), "{said:?}");
}

#[test]
fn a_key_that_was_shown_first_stays_for_the_run() {
    let mut alice = Side::new("alice", 1, SEALED);
    let (mut bob, mut mallory) = (Side::new("bob", 2, SEALED), Side::new("bob", 3, SEALED));
    alice.vault.presence(&id("bob"), &bob.presence(PresenceState::Available));
    assert_eq!(alice.vault.presence(&id("bob"), &mallory.presence(PresenceState::Offline)), News::Nothing);
    mallory.vault.presence(&id("alice"), &alice.presence(PresenceState::Available));
    assert!(matches!(
        alice.hears("bob", &mallory.says("alice").unwrap()),
        Err(Dropped::Distrusted { why: Distrust::Changed { .. }, .. })
    ));
    bob.vault.presence(&id("alice"), &alice.presence(PresenceState::Available));
    assert!(alice.hears("bob", &bob.says("alice").unwrap()).is_ok());
}

#[test]
fn strangers_of_tests_have_another_key_in_each_run() {
    let anew = Policy { plain: Plain::Refused, strangers: Strangers::Anew };
    let mut bob = Side::new("bob", 2, anew);
    for key in [1, 3] {
        let mut alice = Side::new("alice", key, SEALED);
        let presence = bob.presence(PresenceState::Available);
        alice.vault.presence(&id("bob"), &presence);
        let offer = alice.says("bob").unwrap();
        assert!(bob.hears("alice", &offer).is_ok(), "key {key}");
        let ringing = bob.says("alice").unwrap();
        assert!(alice.hears("bob", &ringing).is_ok(), "it is sealed for the key of now");
    }
    let mut bob = Side::new("bob", 2, anew).knows("alice", 1, Opinion::Known);
    let mut other = Side::new("alice", 3, SEALED);
    let presence = bob.presence(PresenceState::Available);
    other.vault.presence(&id("bob"), &presence);
    let offer = other.says("bob").unwrap();
    let refused = bob.hears("alice", &offer).unwrap_err();
    assert!(
        matches!(refused, Dropped::Distrusted { why: Distrust::Changed { .. }, .. }),
        "who is remembered is kept to"
    );
}

#[test]
fn who_had_a_key_is_not_spoken_to_without_one() {
    let mut plain = Side::new("bob", 9, SEALED);
    for policy in [SEALED, FOREIGN] {
        let mut alice = Side::new("alice", 1, policy).knows("bob", 2, Opinion::Known);
        let presence = plain.plain_presence(PresenceState::Available);
        let gone = News::Distrusted(Distrust::KeyGone { peer: id("bob") });
        assert_eq!(alice.vault.presence(&id("bob"), &presence), gone);
        alice.now += PLAIN_AFTER * 10;
        assert!(matches!(alice.says("bob"), Err(Unsent::Waiting)));
        let offer = plain.offer("alice");
        assert!(matches!(alice.hears("bob", &offer), Err(Dropped::Downgraded)));
        // Also when it showed its key in this run alone.
        let (mut alice, mut bob) = (Side::new("alice", 1, policy), Side::new("bob", 2, SEALED));
        alice.vault.presence(&id("bob"), &bob.presence(PresenceState::Available));
        assert_eq!(alice.vault.presence(&id("bob"), &plain.plain_presence(PresenceState::Offline)), News::Nothing);
        assert!(matches!(alice.hears("bob", &offer), Err(Dropped::Downgraded)));
        assert!(seal_form(&alice.says("bob").unwrap()));
    }
}

fn seal_form(bytes: &[u8]) -> bool {
    message::is_sealed(bytes)
}

#[test]
fn plain_is_spoken_where_it_is_allowed_and_nowhere_else() {
    let mut phone = Side::new("phone", 9, SEALED);
    let presence = phone.plain_presence(PresenceState::Available);
    let mut alice = Side::new("alice", 1, SEALED);
    let refused = News::Distrusted(Distrust::PlainOnly { peer: id("phone") });
    assert_eq!(alice.vault.presence(&id("phone"), &presence), refused);
    let offer = phone.offer("alice");
    let Err(Dropped::Distrusted { reply, .. }) = alice.hears("phone", &offer) else { panic!("taken in") };
    assert_eq!(reply.len(), 2, "its program is told, in plain");
    assert!(reply.iter().all(|bytes| Envelope::from_bytes(bytes).is_ok()));

    let mut alice = Side::new("alice", 1, FOREIGN);
    assert_eq!(alice.vault.presence(&id("phone"), &presence), ready(PresenceState::Available));
    assert!(!seal_form(&alice.says("phone").unwrap()));
    assert_eq!(alice.hears("phone", &offer).unwrap().standing, Standing::Plain);
    // Of one without presence it is not known whether it has a key: it is given time to tell.
    assert!(matches!(alice.says("robot"), Err(Unsent::Waiting)));
    alice.now += PLAIN_AFTER;
    assert!(!seal_form(&alice.says("robot").unwrap()));
}

#[test]
fn strangers_and_blocked_peers_are_refused_where_the_user_says_so() {
    let known_only = Policy { strangers: Strangers::Refused, ..SEALED };
    let mut bob = Side::new("bob", 2, known_only);
    let mut alice = Side::new("alice", 1, SEALED);
    alice.vault.presence(&id("bob"), &bob.presence(PresenceState::Available));
    let offer = alice.says("bob").unwrap();
    assert!(matches!(
        bob.hears("alice", &offer),
        Err(Dropped::Distrusted { why: Distrust::Stranger { .. }, reply }) if reply.len() == 2
    ));
    bob = bob.knows("alice", 1, Opinion::Known);
    assert!(bob.hears("alice", &offer).is_ok());
    bob = bob.knows("alice", 1, Opinion::Blocked);
    assert!(matches!(
        bob.hears("alice", &offer),
        Err(Dropped::Distrusted { why: Distrust::Blocked { .. }, reply }) if reply.is_empty()
    ));
}

#[test]
fn presence_that_is_made_up_or_played_back_says_nothing() {
    let (mut alice, mut bob) = (Side::new("alice", 1, SEALED), Side::new("bob", 2, SEALED));
    let story = [PresenceState::Available, PresenceState::Busy, PresenceState::Available].map(|s| bob.presence(s));
    for (presence, is_ready) in story.iter().zip([true, false, false]) {
        let news = alice.vault.presence(&id("bob"), presence);
        assert!(matches!(news, News::State { is_ready: ready, .. } if ready == is_ready), "{news:?}");
    }
    let forged = String::from_utf8(story[2].clone()).unwrap().replace("available", "offline");
    for said in [story[0].as_slice(), &story[1], forged.as_bytes(), b"", b"{}"] {
        assert_eq!(alice.vault.presence(&id("bob"), said), News::Nothing);
    }
}

#[test]
fn a_message_that_is_played_back_changes_nothing() {
    let (mut alice, mut bob) = (Side::new("alice", 1, SEALED), Side::new("bob", 2, SEALED));
    alice.vault.presence(&id("bob"), &bob.presence(PresenceState::Available));
    let first = alice.says("bob").unwrap();
    bob.hears("alice", &first).unwrap();
    // Alice's program starts anew.
    let mut again = Side::new("alice", 1, SEALED);
    (again.run, again.count) = (run(77), 50);
    again.vault = Vault::new(id("alice"), run(77), keys(1), SEALED);
    again.vault.presence(&id("bob"), &bob.presence(PresenceState::Available));
    bob.hears("alice", &again.says("bob").unwrap()).unwrap();
    bob.hears("alice", &first).expect("it is acknowledged again, and known by its id");
    assert!(again.hears("bob", &bob.says("alice").unwrap()).is_ok(), "what is said is for the later run");
}

#[test]
fn a_flood_of_strangers_leaves_room_for_who_is_known() {
    let (mut alice, mut bob) = (Side::new("alice", 1, SEALED), Side::new("bob", 2, SEALED));
    alice.vault.presence(&id("bob"), &bob.presence(PresenceState::Available));
    bob.hears("alice", &alice.says("bob").unwrap()).unwrap();
    let junk = vec![1; 1153];
    let opened =
        (0..10_000).filter(|n| !matches!(bob.hears(&format!("stranger-{n}"), &junk), Err(Dropped::Flood))).count();
    // Her first message was one of a stranger, too.
    assert_eq!(opened, 399);
    assert!(bob.hears("alice", &alice.says("bob").unwrap()).is_ok());
    assert!(bob.vault.partners.len() <= PARTNERS_MAX);
}

#[test]
fn a_program_that_takes_over_goes_on_with_the_calls_of_both() {
    let (mut alice, mut bob) = (Side::new("alice", 1, SEALED), Side::new("bob", 2, SEALED));
    alice.vault.presence(&id("bob"), &bob.presence(PresenceState::Available));
    let (offer, bye) = (alice.says("bob").unwrap(), alice.envelope("bob", Message::bye(ByeReason::Hangup)));
    let bye = alice.vault.outgoing(&id("bob"), &bye, R[0], alice.now).unwrap();
    let mut heir = Side::new("bob", 2, SEALED);
    heir.vault = Vault::new(id("bob"), run(78), keys(2), SEALED);
    assert!(matches!(heir.hears("alice", &bye), Err(Dropped::Closed(OpenError::NotForUs))));
    heir.vault.succeed(bob.run.clone());
    assert!(heir.hears("alice", &bye).is_ok());
    assert!(heir.hears("alice", &offer).is_err(), "a call that the other program may have had");
}

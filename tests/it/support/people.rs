//! The keys of the peers of tests. They depend on a peer's ID alone, so that whoever reads along can open what is sealed,
//! and say something else in its place.

use std::collections::BTreeMap;
use std::path::Path;

use media::private_file;
use rumqttc::Publish;
use serde_json::Value;
use signalling::id::{MessageId, PeerId};
use signalling::seal::{Endpoint, SecretKeys, is_sealed, open, seal};
use signalling::wire::Presence;

use super::mallory::Noise;

/// The key of the peer `id`.
pub fn key_of(id: &str) -> SecretKeys {
    // FNV-1a.
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let bytes = Noise(id.bytes().fold(0xcbf2_9ce4_8422_2325, hash)).bytes(64);
    SecretKeys::from_bytes(bytes.try_into().expect("so many were asked for")).expect("any bytes make keys")
}

/// Writes it where the program looks for it in this home.
pub fn give_key(home: &Path, id: &str) {
    let folder = home.join("state/tring/keys");
    private_file::create_folder(&folder).unwrap();
    private_file::write(&folder.join(id), key_of(id).to_text().as_str()).unwrap();
}

/// Reads what peers say to each other; needs their presence, which names the runs that messages are sealed for.
#[derive(Default)]
pub struct Opener {
    runs: BTreeMap<String, MessageId>,
}

impl Opener {
    /// What was published, opened: a message on a call topic, or a presence; `None` of what is neither.
    pub fn open(&mut self, topic: &str, payload: &[u8]) -> Option<Value> {
        if let Some(peer) = topic.strip_prefix("tring/presence/") {
            let run = Presence::from_bytes(payload).ok()?.run;
            self.runs.insert(peer.to_owned(), run);
        }
        if !is_sealed(payload) {
            return serde_json::from_slice(payload).ok();
        }
        let (from, to) = speakers(topic)?;
        let (from, me): (PeerId, PeerId) = (from.parse().ok()?, to.parse().ok()?);
        let to = Endpoint { id: &me, run: self.runs.get(to)? };
        let opened = open(&key_of(me.as_str()), to, &from, payload).ok()?;
        serde_json::from_slice(&opened.json).ok()
    }

    /// The same of a message that came, with its topic.
    pub fn opened(&mut self, publish: &Publish) -> (String, Option<Value>) {
        (publish.topic.clone(), self.open(&publish.topic, &publish.payload))
    }

    /// Seals a message anew, as its sender would have said it.
    pub fn seal(&self, message: &Value) -> Option<Vec<u8>> {
        let [from, to] = ["from", "to"].map(|name| message[name].as_str()?.parse::<PeerId>().ok());
        let (from, to) = (from?, to?);
        let [from_run, to_run] = [&from, &to].map(|id| self.runs.get(id.as_str()));
        let from_end = Endpoint { id: &from, run: from_run? };
        let (keys, to_keys) = (key_of(from.as_str()), key_of(to.as_str()));
        let to_end = Endpoint { id: &to, run: to_run? };
        let random = random();
        seal(&keys, from_end, (to_end, to_keys.public()), message.to_string().as_bytes(), random).ok()
    }
}

/// Sender and receiver of a call topic.
fn speakers(topic: &str) -> Option<(&str, &str)> {
    let mut levels = topic.rsplit('/');
    let to = levels.next()?;
    Some((levels.next()?, to))
}

fn random() -> [u8; 32] {
    use std::time::{SystemTime, UNIX_EPOCH};
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set").as_nanos();
    // Nobody attacks the messages of a test.
    Noise(now as u64 | 1).bytes(32).try_into().expect("so many were asked for")
}

//! A stranger at the broker who says whatever a test makes her say, by an MQTT client of another make.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use rumqttc::{Client, Event, MqttOptions, Packet, Publish, QoS, SubscribeReasonCode};
use serde_json::{Value, json};

use super::{PATIENCE, password_of};

/// Her peer ID.
pub const ID: &str = "mallory";

/// Larger than anything she says.
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A connected stranger; whoever else a test wants to speak and hear without the program is one too.
pub struct Mallory {
    requests: Client,
    packets: Receiver<Packet>,
    reader: JoinHandle<()>,
    unacknowledged: usize,
    /// what came while something else was waited for
    early: VecDeque<Publish>,
    messages: u64,
    /// how many messages were said on each topic
    published: BTreeMap<String, u64>,
}

/// How to connect to a broker of this machine that knows no logins.
pub fn options(client_id: &str, port: u16) -> MqttOptions {
    let mut options = MqttOptions::new(client_id, "127.0.0.1", port);
    options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    options.set_inflight(1000);
    options
}

/// How to connect to one that does, with the login of one of the users.
pub fn login(client_id: &str, user: &str, port: u16) -> MqttOptions {
    let mut options = options(client_id, port);
    options.set_credentials(user, password_of(user));
    options
}

impl Mallory {
    /// Connects to a broker of this machine that knows no logins.
    pub fn at(port: u16) -> Self {
        Self::connect(options(ID, port))
    }

    /// Connects in any way.
    pub fn connect(options: MqttOptions) -> Self {
        let (requests, mut connection) = Client::new(options, 100);
        let (sender, packets) = channel();
        let reader = std::thread::spawn(move || {
            // Ends with the connection, or with the first packet that nobody wants any more.
            for packet in connection.iter().map_while(Result::ok) {
                if let Event::Incoming(packet) = packet
                    && sender.send(packet).is_err()
                {
                    return;
                }
            }
        });
        let mut mallory = Self {
            requests,
            packets,
            reader,
            unacknowledged: 0,
            early: VecDeque::new(),
            messages: 0,
            published: BTreeMap::new(),
        };
        mallory.until(|packet| matches!(packet, Packet::ConnAck(_)).then_some(()));
        mallory
    }

    /// Says this on a topic.
    pub fn publish(&mut self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.send(topic, payload.into(), false);
    }

    /// The same, and the broker keeps it for those who come later; nothing at all clears what it keeps.
    pub fn retain(&mut self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.send(topic, payload.into(), true);
    }

    fn send(&mut self, topic: &str, payload: Vec<u8>, retain: bool) {
        self.requests.publish(topic, QoS::AtLeastOnce, retain, payload).unwrap();
        self.unacknowledged += 1;
        *self.published.entry(topic.to_owned()).or_default() += 1;
    }

    /// How many messages she has said on a topic.
    pub fn published(&self, topic: &str) -> u64 {
        self.published.get(topic).copied().unwrap_or(0)
    }

    /// Waits until the broker has taken all of it.
    pub fn delivered(&mut self) {
        while self.unacknowledged > 0 {
            self.until(|packet| matches!(packet, Packet::PubAck(_)).then_some(()));
            self.unacknowledged -= 1;
        }
    }

    /// Reads what is said on a topic, or is told that she may not.
    pub fn subscribe(&mut self, topic: &str) -> SubscribeReasonCode {
        self.requests.subscribe(topic, QoS::AtLeastOnce).unwrap();
        self.until(|packet| match packet {
            Packet::SubAck(ack) => ack.return_codes.first().copied(),
            _ => None,
        })
    }

    /// The next message that was said there and has this type.
    pub fn hears(&mut self, kind: &str) -> Value {
        self.message_where(|publish| {
            let message: Value = serde_json::from_slice(&publish.payload).ok()?;
            (message["type"] == kind).then_some(message)
        })
    }

    /// The next presence that she reads and that fulfils this.
    pub fn presence_where(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.message_where(|publish| {
            let is_presence = publish.topic.starts_with("tring/presence/");
            let presence: Value = serde_json::from_slice(&publish.payload).ok()?;
            (is_presence && wanted(&presence)).then_some(presence)
        })
    }

    /// All that came before the next message of this content.
    pub fn heard_before(&mut self, content: &str) -> Vec<Publish> {
        let mut heard = Vec::new();
        self.message_where(|publish| {
            let is_last = publish.payload == content;
            if !is_last {
                heard.push(publish.clone());
            }
            is_last.then_some(())
        });
        heard
    }

    /// Ends as a program that crashes, without a goodbye.
    pub fn vanish(self) {
        let Self { requests, packets, reader, .. } = self;
        drop(packets);
        // Any answer of the broker ends the reader, and the connection with it.
        requests.subscribe(format!("tring/call/+/{ID}"), QoS::AtLeastOnce).unwrap();
        reader.join().unwrap();
    }

    /// Waits until the broker has ended the connection.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn thrown_off(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.packets.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("the connection stays"),
            }
        }
    }

    fn message_where<T>(&mut self, mut wanted: impl FnMut(&Publish) -> Option<T>) -> T {
        while let Some(publish) = self.early.pop_front() {
            if let Some(found) = wanted(&publish) {
                return found;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.packet(deadline) {
                Packet::Publish(publish) => {
                    if let Some(found) = wanted(&publish) {
                        return found;
                    }
                }
                Packet::PubAck(_) => self.unacknowledged -= 1,
                _ => {}
            }
        }
    }

    /// A message as it should be, in whoever's name.
    pub fn message(&mut self, from: &str, to: &str, call: &str, content: Value) -> Value {
        self.messages += 1;
        let mut message = json!({"v": 1, "id": format!("6d-{}", self.messages), "from": from, "to": to, "ts": 0});
        let fields = message.as_object_mut().expect("an object");
        fields.insert("call".into(), call.into());
        fields.extend(content.as_object().expect("an object").clone());
        message
    }

    fn until<T>(&mut self, mut wanted: impl FnMut(&Packet) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let packet = self.packet(deadline);
            if let Some(found) = wanted(&packet) {
                return found;
            }
            if let Packet::Publish(publish) = packet {
                self.early.push_back(publish);
            }
        }
    }

    fn packet(&self, deadline: Instant) -> Packet {
        let left = deadline.saturating_duration_since(Instant::now());
        self.packets.recv_timeout(left).expect("the broker answers mallory")
    }
}

/// Reproducible noise (xorshift64*).
pub struct Noise(pub u64);

impl Noise {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_be_bytes()[0]).collect()
    }

    /// A new call's id.
    pub fn call(&mut self) -> String {
        format!("{:016x}{:016x}", self.next(), self.next())
    }
}

//! A stranger at the broker who says whatever a test makes her say, by an MQTT client of another make.

use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};

use super::PATIENCE;

/// Her peer ID.
pub const ID: &str = "mallory";

/// Larger than anything she says.
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A connected stranger.
pub struct Mallory {
    requests: Client,
    packets: Receiver<Packet>,
    unacknowledged: usize,
    messages: u64,
}

impl Mallory {
    /// Connects to a broker of this machine that knows no logins.
    pub fn at(port: u16) -> Self {
        let mut options = MqttOptions::new(ID, "127.0.0.1", port);
        options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        options.set_inflight(1000);
        let (requests, mut connection) = Client::new(options, 100);
        let (sender, packets) = channel();
        std::thread::spawn(move || {
            // Ends with the connection, or with the test.
            for packet in connection.iter().map_while(Result::ok) {
                if let Event::Incoming(packet) = packet
                    && sender.send(packet).is_err()
                {
                    return;
                }
            }
        });
        let mut mallory = Self { requests, packets, unacknowledged: 0, messages: 0 };
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
    }

    /// Waits until the broker has taken all of it.
    pub fn delivered(&mut self) {
        while self.unacknowledged > 0 {
            self.until(|packet| matches!(packet, Packet::PubAck(_)).then_some(()));
            self.unacknowledged -= 1;
        }
    }

    /// Reads what is said on a topic.
    pub fn subscribe(&mut self, topic: &str) {
        self.requests.subscribe(topic, QoS::AtLeastOnce).unwrap();
        self.until(|packet| matches!(packet, Packet::SubAck(_)).then_some(()));
    }

    /// The next message that was said there and has this type.
    pub fn hears(&mut self, kind: &str) -> Value {
        let mut acknowledged = 0;
        let found = self.until(|packet| match packet {
            Packet::Publish(publish) => {
                let message: Value = serde_json::from_slice(&publish.payload).ok()?;
                (message["type"] == kind).then_some(message)
            }
            Packet::PubAck(_) => {
                acknowledged += 1;
                None
            }
            _ => None,
        });
        self.unacknowledged -= acknowledged;
        found
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
            let left = deadline.saturating_duration_since(Instant::now());
            let packet = self.packets.recv_timeout(left).expect("the broker answers mallory");
            if let Some(found) = wanted(&packet) {
                return found;
            }
        }
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

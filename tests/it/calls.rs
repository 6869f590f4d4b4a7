//! A call is the same call over every broker and every path: over real Mosquitto, ActiveMQ, coTURN and the program's
//! own servers, between two processes, judged by what each side received and by what other programs find in a recording.

use std::path::{Path, PathBuf};

use crate::support::activemq::ActiveMq;
use crate::support::call::{self, Args, Ended};
use crate::support::coturn::{self, Coturn};
use crate::support::mosquitto::Mosquitto;
use crate::support::served::Served;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, password_of};

/// Long enough for every step of the test tone.
const DURATION: &str = "4s";

/// Which way the media goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Relayed,
}

impl Way {
    /// Whether a candidate of this kind is on it.
    fn takes(self, kind: &str) -> bool {
        match self {
            Self::Direct => ["host", "prflx"].contains(&kind),
            Self::Relayed => kind == "relay",
        }
    }
}

/// Which codec, and the file name whose container holds it.
#[derive(Clone, Copy)]
enum Codec {
    Vp8,
    H264,
}

impl Codec {
    const fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "vp8",
            Self::H264 => "h264",
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::Vp8 => "call.webm",
            Self::H264 => "call.mp4",
        }
    }
}

/// Who records the call.
#[derive(Clone, Copy)]
enum Recorder {
    Alice,
    Bob,
}

/// Two peers and what they pass beside their media.
struct Peers {
    alice: Args,
    bob: Args,
    way: Way,
}

impl Peers {
    /// Both at a broker that knows no logins.
    fn at(broker: &str) -> Self {
        let peer = |id| Args::new(["--id", id, "--broker", broker]);
        Self { alice: peer("alice"), bob: peer("bob"), way: Way::Direct }
    }

    /// Both pass this too.
    fn both(self, option: &str, value: impl AsRef<Path>) -> Self {
        let add = |args: Args| args.option(option, value.as_ref());
        Self { alice: add(self.alice), bob: add(self.bob), way: self.way }
    }

    /// Each logs in under its own name.
    fn with_logins(self, dir: &TempDir) -> Self {
        let login = |args: Args, id: &str| {
            let file = dir.write(&format!("{id}.password"), password_of(id));
            args.option("--user", id).option("--password-file", file)
        };
        Self { alice: login(self.alice, "alice"), bob: login(self.bob, "bob"), way: self.way }
    }

    /// Both send media through this server only, as this user.
    fn relayed_as(self, url: &str, user: &str, password: PathBuf) -> Self {
        self.relayed(url).both("--ice-user", user).both("--ice-password-file", password)
    }

    /// Both send media through this server only, with a login that each makes from the shared secret.
    fn relayed_by_secret(self, url: &str, secret: PathBuf) -> Self {
        self.relayed(url).both("--ice-secret-file", secret)
    }

    fn relayed(self, url: &str) -> Self {
        let both = self.both("--ice", url);
        let only = |args: Args| args.and(["--relay-only"]);
        Self { alice: only(both.alice), bob: only(both.bob), way: Way::Relayed }
    }

    /// A call whose `connected` event tells at once, on both sides, which way the media goes.
    fn names_its_path(self) {
        let _turn = Turn::call();
        let mut bob = call::listen(self.bob.and(["--answer", "auto", "--once"]));
        let mut alice = call::call_bob(self.alice.option("--duration", "1s"));
        for side in [&mut alice, &mut bob] {
            let connected = side.wait_event("connected", PATIENCE);
            let kinds = ["local", "remote"].map(|end| connected["pair"][end].as_str().unwrap_or("unknown"));
            assert!(kinds.into_iter().all(|kind| self.way.takes(kind)), "{connected}");
            assert_eq!(connected["pair"]["protocol"], "udp", "{connected}");
        }
        assert_eq!((alice.wait_exit(PATIENCE), bob.wait_exit(PATIENCE)), (0, 0));
    }

    /// The whole call: alice calls bob, hangs up, and everything that was promised came true on both sides.
    fn call(self, codec: Codec, recorder: Recorder) {
        let _turn = Turn::call();
        let dir = TempDir::new("call");
        let file = dir.file(codec.file());
        let record = |args: Args| args.option("--record", &file);
        // One side's wish is enough.
        let mut alice = self.alice.option("--duration", DURATION).option("--codec", codec.name());
        let mut bob = self.bob.and(["--answer", "auto", "--once"]);
        match recorder {
            Recorder::Alice => alice = record(alice),
            Recorder::Bob => bob = record(bob),
        }
        let mut bob = call::listen(bob);
        let mut alice = call::call_bob(alice);
        let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));

        alice.assert_called();
        bob.assert_answered();
        for side in [&alice, &bob] {
            side.assert_media();
            side.assert_codec(codec.name());
            side.assert_path(|kind| self.way.takes(kind));
        }
        let recording = match recorder {
            Recorder::Alice => &alice,
            Recorder::Bob => &bob,
        };
        assert_eq!(recording.summary()["recording"]["file"].as_str(), file.to_str());
        call::assert_recording(&file, codec.name(), recording.duration());
    }
}

#[test]
fn mosquitto_direct() {
    let mosquitto = Mosquitto::anonymous();
    Peers::at(&mosquitto.url()).call(Codec::Vp8, Recorder::Alice);
}

#[test]
fn mosquitto_relayed_with_a_login() {
    let (mosquitto, coturn, dir) = (Mosquitto::anonymous(), Coturn::long_term(), TempDir::new("secrets"));
    let password = dir.write("turn", coturn::PASSWORD);
    let peers = Peers::at(&mosquitto.url()).relayed_as(&coturn.udp_url(), coturn::USER, password);
    peers.call(Codec::H264, Recorder::Bob);
}

#[test]
fn mosquitto_with_logins_direct() {
    let (mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    Peers::at(&mosquitto.url()).with_logins(&dir).call(Codec::H264, Recorder::Alice);
}

#[test]
fn mosquitto_with_logins_on_bare_topics() {
    let (mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    let peers = Peers::at(&mosquitto.url()).with_logins(&dir).both("--topic", "{from}");
    // The rules let bob read alice's topic, but not everyone's.
    let bob = peers.bob.and(["--from", "alice"]);
    Peers { bob, ..peers }.call(Codec::Vp8, Recorder::Bob);
}

#[test]
fn mosquitto_over_tls_direct() {
    let mosquitto = Mosquitto::tls();
    Peers::at(&mosquitto.url()).both("--ca-file", mosquitto.ca_file()).call(Codec::Vp8, Recorder::Alice);
}

#[test]
fn mosquitto_over_tls_relayed_by_secret() {
    let (mosquitto, coturn, dir) = (Mosquitto::tls(), Coturn::shared_secret(), TempDir::new("secrets"));
    let secret = dir.write("turn", coturn::SECRET);
    let peers = Peers::at(&mosquitto.url()).both("--ca-file", mosquitto.ca_file());
    peers.relayed_by_secret(&coturn.udp_url(), secret).call(Codec::H264, Recorder::Bob);
}

#[test]
fn mosquitto_over_websocket_direct() {
    let mosquitto = Mosquitto::anonymous();
    Peers::at(&mosquitto.websocket_url()).call(Codec::H264, Recorder::Bob);
}

#[test]
fn mosquitto_over_websocket_with_logins_relayed() {
    let (mosquitto, coturn, dir) = (Mosquitto::password(), Coturn::long_term(), TempDir::new("secrets"));
    let password = dir.write("turn", coturn::PASSWORD);
    let peers = Peers::at(&mosquitto.websocket_url()).with_logins(&dir);
    peers.relayed_as(&coturn.udp_url(), coturn::USER, password).call(Codec::Vp8, Recorder::Alice);
}

#[test]
fn mosquitto_over_websocket_and_tls_direct() {
    let mosquitto = Mosquitto::tls();
    let peers = Peers::at(&mosquitto.websocket_url()).both("--ca-file", mosquitto.ca_file());
    peers.call(Codec::Vp8, Recorder::Bob);
}

#[test]
fn activemq_direct() {
    let activemq = ActiveMq::anonymous();
    Peers::at(&activemq.url()).call(Codec::H264, Recorder::Alice);
}

#[test]
fn activemq_relayed_by_secret() {
    let (activemq, coturn, dir) = (ActiveMq::anonymous(), Coturn::shared_secret(), TempDir::new("secrets"));
    let secret = dir.write("turn", coturn::SECRET);
    Peers::at(&activemq.url()).relayed_by_secret(&coturn.udp_url(), secret).call(Codec::Vp8, Recorder::Bob);
}

#[test]
fn activemq_with_logins_direct() {
    let (activemq, dir) = (ActiveMq::password(), TempDir::new("secrets"));
    Peers::at(&activemq.url()).with_logins(&dir).call(Codec::Vp8, Recorder::Alice);
}

#[test]
fn activemq_with_logins_relayed() {
    let (activemq, coturn, dir) = (ActiveMq::password(), Coturn::long_term(), TempDir::new("secrets"));
    let password = dir.write("turn", coturn::PASSWORD);
    let peers = Peers::at(&activemq.url()).with_logins(&dir);
    peers.relayed_as(&coturn.udp_url(), coturn::USER, password).call(Codec::H264, Recorder::Bob);
}

#[test]
fn own_broker_direct() {
    let served = Served::start(Args::default());
    Peers::at(&served.mqtt).call(Codec::H264, Recorder::Alice);
}

#[test]
fn own_broker_and_relay() {
    let (served, dir) = (Served::start(Args::default()), TempDir::new("secrets"));
    // On loopback the server's login is no secret: it says so itself.
    let password = dir.write("turn", "tring");
    Peers::at(&served.mqtt).relayed_as(&served.turn, "tring", password).call(Codec::Vp8, Recorder::Bob);
}

#[test]
fn own_broker_with_logins_over_websocket_and_own_relay_by_secret() {
    let dir = TempDir::new("secrets");
    let users = ["alice", "bob"].map(|id| format!("{id}:{}\n", password_of(id))).concat();
    let (users, secret) = (dir.write("users", &users), dir.write("turn", coturn::SECRET));
    let served = Served::start(Args::default().option("--users-file", users).option("--ice-secret-file", &secret));
    let peers = Peers::at(&served.websocket).with_logins(&dir);
    peers.relayed_by_secret(&served.turn, secret).call(Codec::H264, Recorder::Alice);
}

#[test]
fn bare_topics_direct() {
    let mosquitto = Mosquitto::anonymous();
    Peers::at(&mosquitto.url()).both("--topic", "{from}").call(Codec::H264, Recorder::Bob);
}

#[test]
fn the_path_is_told_when_connected_directly() {
    let mosquitto = Mosquitto::anonymous();
    Peers::at(&mosquitto.url()).names_its_path();
}

#[test]
fn the_path_is_told_when_connected_by_relay() {
    let (mosquitto, coturn, dir) = (Mosquitto::anonymous(), Coturn::long_term(), TempDir::new("secrets"));
    let password = dir.write("turn", coturn::PASSWORD);
    Peers::at(&mosquitto.url()).relayed_as(&coturn.udp_url(), coturn::USER, password).names_its_path();
}

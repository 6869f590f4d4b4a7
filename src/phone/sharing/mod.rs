//! One connection to the broker for all programs of this user that have the same ID.
//!
//! A broker lets one client in by an ID, so a second program would throw the first one off. Here the first program is
//! the host: it has the connection, and a socket in the state folder. A later `tring call` is its guest: it runs its call
//! by itself, and what it has to say to the broker goes through the host. When the host ends, the guest connects itself.
//!
//! - [`enter`] → [`Seat`]: host, guest, or alone where there is no state folder
//! - host: socket → [`host`] → [`FromGuest`] → the session, which routes messages ([`desk`])
//! - guest: [`guest`] carries a [`signalling::mqtt::Link`] over the socket
//!
//! Messages are sealed and opened by the host, whose run of the program they are sealed for: between host and guest they
//! are plain, and come with what is known of who sealed them.
//!
//! Never changes what is said. [`desk`] reads type, call and `of` of a message alone, to find the guest it is for.

pub(crate) mod desk;
pub(crate) mod guest;
pub(crate) mod host;
mod lines;

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use signalling::id::{MessageId, PeerId};
use signalling::mqtt::Shown;
use signalling::seal::{Distrust, Standing};
use signalling::wire::PresenceState;
use tokio::net::{UnixListener, UnixStream};
use tracing::debug;

use crate::output::exit::{ExitStatus, Failure};
use crate::phone::settings::Settings;
use crate::platform::paths::state_folder;
use host::Listener;

/// Version of what host and guest say to each other.
const VERSION: u32 = 3;

/// How long a host may take to answer; one that is stopped or hangs is no host.
const HELLO_PATIENCE: Duration = Duration::from_secs(1);

/// How long another program that is just starting is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_EVERY: Duration = Duration::from_millis(10);

/// The longest path that every system takes for a socket, bytes; Linux takes 107.
const SOCKET_PATH_MAX: usize = 100;

/// What a program is here for, in the eyes of another one with the same ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// It calls this peer.
    Calls(PeerId),
    /// It waits for calls.
    Listens,
}

/// Who a program is, and which broker it wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Card {
    v: u32,
    id: PeerId,
    process: u32,
    part: Part,
    /// Names the run, and begins the ids of its messages.
    run: MessageId,
    brokers: Vec<String>,
    topics: String,
    dialect: String,
    /// Whether it seals, and whom it speaks to.
    policy: String,
    /// The fingerprint of its key: what is said for it is sealed with that of the host.
    key: Option<String>,
}

impl Card {
    /// The card of a session.
    pub(crate) fn new(settings: &Settings, part: Part) -> Self {
        let link = &settings.link;
        let address = |broker: &signalling::mqtt::BrokerUrl| {
            let host = if broker.host == "localhost" { "127.0.0.1" } else { &broker.host };
            format!("{host}:{}", broker.port)
        };
        Self {
            v: VERSION,
            id: link.me.clone(),
            process: std::process::id(),
            part,
            run: MessageId::numbered(link.run, 0),
            brokers: link.brokers.iter().map(address).collect(),
            topics: format!("{:?}", link.template),
            dialect: format!("{:?}", settings.dialect),
            policy: format!("{:?}", settings.security.as_ref().map(|security| security.policy)),
            key: link.sealing.as_ref().map(|sealing| sealing.keys.public().fingerprint().to_string()),
        }
    }

    /// What the host with this card says to a guest with that one.
    fn admit(&self, guest: &Self) -> Answer {
        if self.v != guest.v || self.id != guest.id || !self.brokers.iter().any(|here| guest.brokers.contains(here)) {
            return Answer::Elsewhere;
        }
        let (id, process) = (&self.id, self.process);
        let refused = match (&self.part, &guest.part) {
            (Part::Listens, Part::Listens) => format!("{id} waits for calls here already, as process {process}"),
            (Part::Calls(peer), Part::Listens) => format!("{id} is calling {peer} here, as process {process}"),
            (_, Part::Calls(_)) if (&self.topics, &self.dialect) != (&guest.topics, &guest.dialect) => {
                format!("{id} is online here with another --topic or --dialect, as process {process}")
            }
            (_, Part::Calls(_)) if self.policy != guest.policy => {
                format!("{id} is online here with another --plain or --require-known, as process {process}")
            }
            (_, Part::Calls(_)) if self.key != guest.key => {
                format!("{id} is online here with another key, as process {process}")
            }
            (_, Part::Calls(_)) => return Answer::Welcome { process, run: self.run.clone() },
        };
        Answer::Refused { text: format!("{refused}; end that program first, or give this one its own --id") }
    }
}

/// The host's first word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
enum Answer {
    /// Be a guest.
    Welcome {
        process: u32,
        /// The host's run: what is sealed for it may be for the guest.
        run: MessageId,
    },
    /// We have nothing to do with each other.
    Elsewhere,
    /// Only one of us can be online.
    Refused { text: String },
}

/// What a guest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "guest", rename_all = "snake_case")]
pub(crate) enum ToHost {
    /// Publish this.
    Publish { to: PeerId, payload: Payload },
    /// Tell us the presence of this peer.
    Watch { peer: PeerId },
    /// Take in what this peer says.
    Hear { peer: PeerId },
    /// We are in a call, or not.
    Presence { state: PresenceState },
    /// The network of this machine changed.
    Reconnect,
    /// There is a reason to doubt the connection.
    Doubt,
    /// Find out whether the broker's rules let call messages through.
    Probe,
}

/// What a host says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "host", rename_all = "snake_case")]
pub(crate) enum ToGuest {
    /// The broker is there.
    Up { broker: String },
    /// The broker is gone.
    Down { reason: String },
    /// The broker's rules let call messages through.
    Echo,
    /// A peer said this.
    Message { from: PeerId, payload: Payload, standing: Standing },
    /// What waits for the keys of a peer can be sent.
    Ready { peer: PeerId },
    /// A peer is not spoken to.
    Distrusted { why: Distrust, shown: Shown },
    /// The broker did not take a message.
    Refused { to: PeerId, text: String },
    /// A peer's presence.
    Presence { peer: PeerId, state: Option<PresenceState> },
    /// There will be no broker any more.
    Failed { text: String },
}

/// Bytes of a message, as base64 where they stand in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Payload(pub(crate) bytes::Bytes);

impl TryFrom<String> for Payload {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(|bytes| Self(bytes.into()))
    }
}

impl From<Payload> for String {
    fn from(payload: Payload) -> Self {
        STANDARD.encode(payload.0)
    }
}

/// A guest, as its host sees it.
#[derive(Debug)]
pub(crate) enum FromGuest {
    /// It came.
    Joined { number: u64, guest: desk::Guest },
    /// It says something.
    Said { number: u64, said: ToHost },
    /// It is gone.
    Left { number: u64 },
}

/// Where a program stands among those with its ID.
pub(crate) enum Seat {
    /// It connects to the broker, and others may join it.
    Host(Listener),
    /// Another one has the connection.
    Guest(guest::Visit),
    /// It connects to the broker, and nobody can find it.
    Alone,
}

/// Finds the host with this ID, or becomes it.
///
/// # Errors
/// [`ExitStatus::BrokerRefused`] when another program here has the ID and cannot share it.
pub(crate) async fn enter(card: &Card) -> Result<Seat, Failure> {
    let Some(folder) = state_folder().map(|folder| folder.join("lines")) else { return Ok(Seat::Alone) };
    match find_or_host(&folder, card).await {
        Ok(Ok(seat)) => Ok(seat),
        Ok(Err(text)) => Err(Failure::new(ExitStatus::BrokerRefused, text)),
        Err(error) => {
            debug!(%error, "programs with the same ID are not looked for");
            Ok(Seat::Alone)
        }
    }
}

async fn find_or_host(folder: &Path, card: &Card) -> io::Result<Result<Seat, String>> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let prefix = format!("{}@{}.", card.id, host_name());
    // Of two programs that start at once, one finds the other.
    let _lock = lock(&folder.join(format!("{prefix}lock"))).await?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(&prefix) || !name.ends_with(".sock") {
            continue;
        }
        let (path, _folder) = reachable(&entry.path())?;
        match UnixStream::connect(&path).await {
            Ok(stream) => match tokio::time::timeout(HELLO_PATIENCE, guest::introduce(stream, card)).await {
                Ok(Ok((Answer::Welcome { process, run }, lines))) => {
                    return Ok(Ok(Seat::Guest(guest::Visit::new(lines, process, run))));
                }
                Ok(Ok((Answer::Refused { text }, _))) => return Ok(Err(text)),
                Ok(Ok((Answer::Elsewhere, _))) => {}
                Ok(Err(error)) => debug!(name, %error, "no host"),
                Err(_) => debug!(name, "a host does not answer"),
            },
            // Its program ended without a goodbye.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let _gone = std::fs::remove_file(entry.path());
            }
            Err(error) => debug!(name, %error, "no host"),
        }
    }
    let socket = folder.join(format!("{prefix}{}.sock", std::process::id()));
    let (path, _folder) = reachable(&socket)?;
    // What an earlier process of this number left.
    let _absent = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&path)?;
    Ok(Ok(Seat::Host(Listener::new(listener, socket, card.clone()))))
}

/// Waits for the lock, but not for ever: it is only held while a program starts.
async fn lock(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => tokio::time::sleep(LOCK_EVERY).await,
            Err(TryLockError::WouldBlock) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// A path to this socket that is short enough, good for as long as the folder is open.
fn reachable(socket: &Path) -> io::Result<(PathBuf, Option<File>)> {
    match (socket.parent(), socket.file_name()) {
        (Some(folder), Some(name)) if socket.as_os_str().len() > SOCKET_PATH_MAX => {
            let folder = File::open(folder)?;
            Ok((PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name), Some(folder)))
        }
        _ => Ok((socket.to_owned(), None)),
    }
}

/// The name of this machine: a home may be shared by several, and a socket is not.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(part: Part, brokers: &[&str]) -> Card {
        Card {
            v: VERSION,
            id: "bob".parse().unwrap(),
            process: 7,
            part,
            run: MessageId::numbered(signalling::id::Nonce(1), 0),
            brokers: brokers.iter().map(|&broker| broker.to_owned()).collect(),
            topics: "tring/call/{from}/{to}".into(),
            dialect: "Tring".into(),
            policy: "sealed".into(),
            key: Some("one".into()),
        }
    }

    #[test]
    fn whoever_calls_is_a_guest_and_a_second_listener_is_told() {
        let listens = card(Part::Listens, &["h:1883", "i:1883"]);
        let calls = card(Part::Calls("alice".parse().unwrap()), &["i:1883"]);
        let welcome = || Answer::Welcome { process: 7, run: calls.run.clone() };
        assert_eq!(listens.admit(&calls), welcome());
        assert_eq!(calls.admit(&calls), welcome());
        let told = |answer| match answer {
            Answer::Refused { text } => text,
            other => panic!("{other:?}"),
        };
        let text = told(listens.admit(&listens));
        assert!(text.contains("process 7") && text.contains("--id"), "{text}");
        assert!(told(calls.admit(&Card { part: Part::Listens, ..calls.clone() })).contains("is calling alice"));
        assert!(told(listens.admit(&Card { topics: "{from}".into(), ..calls.clone() })).contains("--topic"));
        assert!(told(listens.admit(&Card { policy: "plain".into(), ..calls.clone() })).contains("--plain"));
        assert!(told(listens.admit(&Card { key: None, ..calls.clone() })).contains("another key"));
        let elsewhere = Card { brokers: vec!["j:1883".into()], ..calls };
        assert_eq!(listens.admit(&elsewhere), Answer::Elsewhere);
    }

    #[test]
    fn payloads_survive_as_text() {
        let said = ToHost::Publish { to: "alice".parse().unwrap(), payload: Payload(vec![0, 255, b'\n'].into()) };
        let line = serde_json::to_string(&said).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<ToHost>(&line).unwrap(), said);
    }

    #[tokio::test]
    async fn the_second_program_finds_the_first_even_behind_a_long_path() {
        let folder = std::env::temp_dir().join(format!("tring-lines-{}-{}", std::process::id(), "x".repeat(120)));
        let listens = card(Part::Listens, &["h:1883"]);
        let Ok(Ok(Seat::Host(listener))) = find_or_host(&folder, &listens).await else { panic!("no host") };
        let (guests, mut joined) = tokio::sync::mpsc::channel(4);
        let closing = tokio_util::sync::CancellationToken::new();
        listener.serve(guests, closing.clone());
        let calls = Card { process: 8, ..card(Part::Calls("alice".parse().unwrap()), &["h:1883"]) };
        let Ok(Ok(Seat::Guest(_visit))) = find_or_host(&folder, &calls).await else { panic!("no guest") };
        assert!(matches!(joined.recv().await, Some(FromGuest::Joined { number: 0, .. })));
        assert!(matches!(find_or_host(&folder, &listens).await, Ok(Err(_))));
        closing.cancel();
        let _absent = std::fs::remove_dir_all(&folder);
    }
}

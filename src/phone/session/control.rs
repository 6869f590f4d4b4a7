//! What the user says while a call stands: NDJSON on standard input (`--control -`), or keys.

use std::path::PathBuf;

use media::capture::{AudioSource, VideoSource};
use media::impair::Impairments;
use serde::Deserialize;
use signalling::wire::TEXT_BYTES_MAX;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::sync::mpsc;

/// Commands waiting for the session; a script that is faster waits.
const COMMANDS_MAX: usize = 16;

/// Longest line read: a path fits in.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Command {
    /// Answer the ringing call.
    Answer {},
    /// Decline the ringing call.
    Reject {
        /// What the caller is told beside it.
        #[serde(default, deserialize_with = "short_text")]
        text: Option<String>,
    },
    /// End the call, or stop ringing.
    Hangup {},
    /// Put the call on hold.
    Hold {},
    /// Talk again in the call that is on hold.
    Resume {},
    /// Talk in the other of two calls.
    Swap {},
    /// Send something else: as `--video` and `--audio`.
    Send {
        /// Pictures.
        #[serde(default, deserialize_with = "source")]
        video: Option<VideoSource>,
        /// Sound.
        #[serde(default, deserialize_with = "source")]
        audio: Option<AudioSource>,
    },
    /// Switch the microphone off or on.
    Mute {
        /// Off unless false.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Switch the camera on or off.
    Camera {
        /// On or off.
        on: bool,
    },
    /// Take echo and noise out of our microphone, or leave it as it is.
    Voice {
        /// On or off.
        on: bool,
    },
    /// Note that the words of the call are the same on both sides, or that they are not.
    Verify {
        /// They are, unless false.
        #[serde(default = "yes")]
        on: bool,
        /// What was heard from the other side: noted only if these are the words here.
        #[serde(default)]
        words: Option<String>,
    },
    /// Save a picture of the other side.
    Snapshot {
        /// The PNG file.
        file: PathBuf,
    },
    /// Be shown as away; calls still ring.
    Away {},
    /// Be shown as available again.
    Back {},
    /// Print figures now.
    Stats {},
    /// Make the network of the media worse, as `--impair`, in place of what was said before.
    Impair {
        /// One specification, or several with blanks between them.
        #[serde(deserialize_with = "impairments")]
        spec: Impairments,
    },
    /// Connect anew, to the broker and to the other side, as after a change of network.
    Reconnect {},
    /// Leave the program, hanging up first.
    Quit {},
}

const fn yes() -> bool {
    true
}

/// A source as its option has it.
fn source<'de, D, S>(deserializer: D) -> Result<Option<S>, D::Error>
where
    D: serde::Deserializer<'de>,
    S: std::str::FromStr<Err: std::fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map(Some).map_err(serde::de::Error::custom)
}

/// As `--impair` has it.
fn impairments<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Impairments, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// A text that fits into a message.
fn short_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    match text {
        Some(text) if text.len() > TEXT_BYTES_MAX => {
            Err(serde::de::Error::custom(format!("the text has more than {TEXT_BYTES_MAX} bytes")))
        }
        text => Ok(text),
    }
}

/// Checks a command that somebody wrote down to be given later.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(command: &serde_json::Value) -> Result<(), String> {
    Command::deserialize(command).map(|_| ()).map_err(|error| error.to_string())
}

/// A line that was read, or why it is none of ours.
pub(crate) type CommandLine = Result<Command, String>;

/// Reads commands until the input ends.
pub(crate) fn read_commands(input: impl AsyncRead + Unpin + Send + 'static) -> mpsc::Receiver<CommandLine> {
    let (commands, received) = mpsc::channel(COMMANDS_MAX);
    tokio::spawn(async move {
        let mut reader = BufReader::new(input);
        let mut line = Vec::new();
        let mut skipping = false;
        loop {
            line.clear();
            let mut limited = (&mut reader).take(LINE_BYTES_MAX as u64 + 1);
            match limited.read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            // The rest of a line that was too long is no line of its own.
            let was_skipping = skipping;
            skipping = !line.ends_with(b"\n") && (was_skipping || line.len() > LINE_BYTES_MAX);
            if was_skipping {
                continue;
            }
            let Some(parsed) = parse(&line) else { continue };
            if commands.send(parsed).await.is_err() {
                return;
            }
        }
    });
    received
}

/// Reads one line; `None` for an empty one.
pub(crate) fn parse(line: &[u8]) -> Option<CommandLine> {
    // Some editors begin a file with a byte order mark.
    let text = line.trim_ascii();
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text).trim_ascii();
    if text.is_empty() {
        return None;
    }
    if line.len() > LINE_BYTES_MAX {
        return Some(Err("control: line too long".into()));
    }
    Some(serde_json::from_slice(text).map_err(|error| {
        format!("control: {error}; use e.g. {{\"command\":\"hangup\"}} (answer, reject, hangup, hold, resume, swap, mute, camera, voice, verify, send, away, back, snapshot, stats, impair, reconnect, quit)")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_read() {
        for (text, expected) in [
            (r#"{"command":"answer"}"#, Command::Answer {}),
            (r#"{"command":"reject"}"#, Command::Reject { text: None }),
            (r#"{"command":"reject","text":"later"}"#, Command::Reject { text: Some("later".into()) }),
            (r#"{"command":"send","video":"test"}"#, Command::Send { video: Some(VideoSource::Test), audio: None }),
            (r#"{"command":"mute"}"#, Command::Mute { on: true }),
            (r#"{"command":"mute","on":false}"#, Command::Mute { on: false }),
            (r#"{"command":"voice","on":false}"#, Command::Voice { on: false }),
            (r#"{"command":"camera","on":false}"#, Command::Camera { on: false }),
            (r#"{"command":"verify"}"#, Command::Verify { on: true, words: None }),
            (
                r#"{"command":"verify","words":"able zoo"}"#,
                Command::Verify { on: true, words: Some("able zoo".into()) },
            ),
            (r#"{"command":"verify","on":false}"#, Command::Verify { on: false, words: None }),
            (r#"{"command":"away"}"#, Command::Away {}),
            (r#"{"command":"back"}"#, Command::Back {}),
            (r#"{"command":"reconnect"}"#, Command::Reconnect {}),
            (r#"{"command":"impair","spec":"none"}"#, Command::Impair { spec: Impairments::default() }),
            (
                r#"{"command":"impair","spec":"up:loss=5% down:delay=50ms"}"#,
                Command::Impair { spec: "down:delay=0.05s up:loss=5.0%".parse().unwrap() },
            ),
            (r#"{"command":"snapshot","file":"a.png"}"#, Command::Snapshot { file: "a.png".into() }),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap().unwrap(), expected);
        }
    }

    #[test]
    fn nonsense_is_named() {
        assert!(parse(b"  \n").is_none() && parse(b"\xEF\xBB\xBF\r\n").is_none());
        assert_eq!(parse(b"\xEF\xBB\xBF{\"command\":\"answer\"}\r\n"), Some(Ok(Command::Answer {})));
        for text in ["answer", "{}", r#"{"command":"dance"}"#, r#"{"command":"answer","x":1}"#, "\u{0}"] {
            assert!(parse(text.as_bytes()).unwrap().unwrap_err().contains("hangup"), "{text}");
        }
        assert!(parse(&vec![b'x'; LINE_BYTES_MAX + 1]).unwrap().is_err());
    }

    #[test]
    fn a_wrong_impairment_is_told_what_there_is() {
        let told = parse(br#"{"command":"impair","spec":"lag=5ms"}"#).unwrap().unwrap_err();
        assert!(told.contains("lag=5ms") && told.contains("stall=700ms"), "{told}");
    }

    #[tokio::test]
    async fn the_rest_of_a_line_that_is_too_long_is_no_command() {
        let mut input = vec![b' '; 3 * LINE_BYTES_MAX];
        input.extend(b"{\"command\":\"answer\"}\n{\"command\":\"hangup\"}\n");
        let mut commands = read_commands(std::io::Cursor::new(input));
        assert_eq!(commands.recv().await, Some(Ok(Command::Hangup {})));
        assert_eq!(commands.recv().await, None);
    }

    #[tokio::test]
    async fn lines_arrive_one_by_one_until_the_end() {
        let mut commands = read_commands(&b"{\"command\":\"answer\"}\nnonsense\n\n{\"command\":\"hangup\"}"[..]);
        assert_eq!(commands.recv().await, Some(Ok(Command::Answer {})));
        assert!(commands.recv().await.unwrap().is_err());
        assert_eq!(commands.recv().await, Some(Ok(Command::Hangup {})));
        assert_eq!(commands.recv().await, None);
    }
}

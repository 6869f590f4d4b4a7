//! A peer as a child process of this one.
//!
//! - out of it: lines of standard output and error, then its end
//! - into it: commands on standard input, SIGINT, SIGKILL
//!
//! The child sees none of the user's settings: what it is to do stands in its arguments and variables alone.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

use super::{LINE_BYTES_MAX, Launch, ORDERS_MAX, PeerHandle, PeerInput, PeerOutput, Program, TOLD_MAX};
use crate::output::exit::Failure;
use crate::phone::identity;
use crate::platform::child;

/// How long what it wrote last is read when it has ended: it is there already.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// Starts the part.
///
/// # Errors
/// A [`Failure`] when the program cannot be started.
pub(crate) fn start(part: &Launch) -> Result<PeerHandle, Failure> {
    let mut command = command(part)?;
    let mut child = command.spawn().map_err(|error| {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        Failure::usage(format!("peer {} cannot be started: {program}: {error}", part.name))
    })?;
    let (told_tx, told) = mpsc::channel(TOLD_MAX);
    let (orders, orders_rx) = mpsc::channel(ORDERS_MAX);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let reading = tokio::spawn(read(stdout, told_tx.clone(), of_output));
    let complaining = tokio::spawn(read(stderr, told_tx.clone(), PeerOutput::Log));
    tokio::spawn(async move {
        let status = attend(&mut child, stdin, orders_rx).await;
        // What it said before its end is told before its end. A child of its own may keep the pipes open.
        let aborts = [reading.abort_handle(), complaining.abort_handle()];
        if tokio::time::timeout(LEFTOVERS, async { tokio::join!(reading, complaining) }).await.is_err() {
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
        // A test that is over does not listen any more.
        let _nobody = told_tx.send(PeerOutput::Ended(status)).await;
    });
    Ok(PeerHandle { told, orders })
}

/// Where this program is. One that was replaced while it runs, as an agent's by an upgrade, is still found.
pub(crate) fn own_program() -> Result<PathBuf, Failure> {
    /// What runs, whatever its name leads to by now (proc(5)).
    const RUNNING: &str = "/proc/self/exe";
    let program = std::env::current_exe();
    let program = program.map_err(|error| Failure::internal(format!("own path unknown: {error}")))?;
    if program.exists() || !Path::new(RUNNING).exists() { Ok(program) } else { Ok(RUNNING.into()) }
}

fn command(part: &Launch) -> Result<Command, Failure> {
    let mut command = match &part.program {
        Program::Tring { arguments } => {
            let mut command = Command::new(own_program()?);
            command.args(arguments).args(["--json", "--control", "-"]);
            child::hide_settings(&mut command);
            // Keys of tests are none of the user's, and neither is what is remembered of peers.
            command.env("TRING_SECRET_KEY", identity::of_this_program().to_text().as_str());
            command
        }
        Program::Foreign { command: words } => {
            let Some((program, arguments)) = words.split_first() else {
                return Err(Failure::usage(format!("peer {} has an empty command", part.name)));
            };
            let mut command = Command::new(program);
            command.args(arguments);
            child::hide_settings(&mut command);
            command
        }
    };
    command.env("TRING_CONFIG", "/dev/null").envs(&part.env).current_dir(&part.folder).kill_on_drop(true);
    // A Ctrl-C at the terminal is for the one who runs the test, who ends the peers in order.
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// Carries out orders until the child has ended; its exit status.
async fn attend(child: &mut Child, stdin: Option<ChildStdin>, mut orders: mpsc::Receiver<PeerInput>) -> Option<i32> {
    let pid = child.id();
    let (lines, lines_rx) = mpsc::channel(ORDERS_MAX);
    // Ends with the child, whose end closes the pipe.
    tokio::spawn(write(stdin, lines_rx));
    loop {
        let order = tokio::select! {
            ended = child.wait() => return ended.ok().and_then(|status| status.code()),
            order = orders.recv() => order,
        };
        match order {
            Some(PeerInput::Control(line)) => {
                // One that reads no commands gets none: it must not keep other orders waiting.
                let _unread = lines.try_send(line);
            }
            Some(PeerInput::Interrupt) => signal(pid, Signal::INT),
            Some(PeerInput::Kill) | None => {
                signal(pid, Signal::KILL);
                return child.wait().await.ok().and_then(|status| status.code());
            }
        }
    }
}

/// Hands it commands, as fast as it reads them.
async fn write(stdin: Option<ChildStdin>, mut lines: mpsc::Receiver<String>) {
    let Some(mut pipe) = stdin else { return };
    while let Some(line) = lines.recv().await {
        if pipe.write_all(format!("{line}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A signal for it and the children it may have: it leads a group of its own.
fn signal(pid: Option<u32>, signal: Signal) {
    if let Some(group) = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
        // An error means that it has ended already.
        let _ended = kill_process_group(group, signal);
    }
}

/// Tells of each line; the rest of one that is too long is left out.
async fn read(pipe: Option<impl AsyncRead + Unpin>, told: mpsc::Sender<PeerOutput>, of: fn(String) -> PeerOutput) {
    let Some(pipe) = pipe else { return };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    let mut is_rest = false;
    loop {
        line.clear();
        match (&mut reader).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let was_rest = std::mem::replace(&mut is_rest, !line.ends_with(b"\n"));
        if was_rest {
            continue;
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if told.send(of(text)).await.is_err() {
            return;
        }
    }
}

fn of_output(line: String) -> PeerOutput {
    match serde_json::from_str::<Value>(&line) {
        Ok(event) if event["event"].is_string() => PeerOutput::Event(event),
        Ok(_) | Err(_) => PeerOutput::Text(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(script: &str) -> Launch {
        Launch {
            name: "peer".into(),
            program: Program::Foreign { command: ["sh", "-c", script].map(str::to_owned).to_vec() },
            env: [("WORD".to_owned(), "hidden".to_owned())].into(),
            folder: std::env::temp_dir(),
        }
    }

    async fn all(handle: &mut PeerHandle) -> Vec<PeerOutput> {
        let mut told = Vec::new();
        while let Some(next) = handle.told.recv().await {
            told.push(next);
        }
        told
    }

    #[tokio::test]
    async fn lines_and_the_end_are_told_and_commands_arrive() {
        let mut peer =
            start(&part(r#"read line; echo "{\"event\":\"got\",\"line\":$line}"; echo $WORD; exit 7"#)).unwrap();
        peer.orders.send(PeerInput::Control("[1]".into())).await.unwrap();
        let expected = [
            PeerOutput::Event(serde_json::json!({"event": "got", "line": [1]})),
            PeerOutput::Text("hidden".into()),
            PeerOutput::Ended(Some(7)),
        ];
        assert_eq!(all(&mut peer).await, expected);
    }

    #[tokio::test]
    async fn it_is_interrupted_and_killed() {
        // Where a test runs in the background SIGINT is ignored, which a shell cannot change.
        let heeding = r#"exec perl -e '$SIG{INT} = sub { exit 3 }; $| = 1; print "ready\n"; sleep 1 while 1'"#;
        let mut peer = start(&part(heeding)).unwrap();
        assert_eq!(peer.told.recv().await, Some(PeerOutput::Text("ready".into())));
        peer.orders.send(PeerInput::Interrupt).await.unwrap();
        assert_eq!(all(&mut peer).await, [PeerOutput::Ended(Some(3))]);
        let mut peer = start(&part("trap '' INT; echo ready; while :; do sleep 0.05; done")).unwrap();
        assert_eq!(peer.told.recv().await, Some(PeerOutput::Text("ready".into())));
        peer.orders.send(PeerInput::Kill).await.unwrap();
        assert_eq!(all(&mut peer).await, [PeerOutput::Ended(None)]);
    }

    #[tokio::test]
    async fn nobody_left_to_order_it_ends_it() {
        let mut peer = start(&part("echo ready; sleep 1000")).unwrap();
        assert_eq!(peer.told.recv().await, Some(PeerOutput::Text("ready".into())));
        let PeerHandle { mut told, orders } = peer;
        drop(orders);
        assert_eq!(told.recv().await, Some(PeerOutput::Ended(None)));
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut() {
        let mut peer = start(&part("head -c 600000 /dev/zero | tr '\\0' x; echo; echo after")).unwrap();
        let told = all(&mut peer).await;
        assert!(matches!(&told[0], PeerOutput::Text(text) if text.len() == LINE_BYTES_MAX));
        assert_eq!(told[1..], [PeerOutput::Text("after".into()), PeerOutput::Ended(Some(0))]);
    }

    #[tokio::test]
    async fn what_is_not_there_is_named() {
        let program = Program::Foreign { command: vec!["/nonexistent/peer".into()] };
        let failure = start(&Launch { program, ..part("") }).unwrap_err();
        assert!(failure.text.contains("/nonexistent/peer"), "{}", failure.text);
    }
}

//! `tring demo`: a broker, a TURN server and two peers as processes of their own, one call, one report.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use media::display::Show;
use media::existing::Existing;
use media::frame::VideoCodec;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::report;
use crate::cli::Demo;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::{identity, outputs};
use crate::platform::child;
use crate::platform::signals::{self, End, Ends};
use crate::servers::broker::Access;
use crate::servers::one_run::OneRun;

/// Set-up and farewell around the talk itself; both are bounded by time-outs of their own, this is the last resort.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long bob may take to end after alice has.
const FAREWELL: Duration = Duration::from_secs(5);

/// Name at the demo's TURN server.
const ICE_USER: &str = "demo";

/// Most that is kept of what a peer writes on stderr, in bytes.
const STDERR_MAX: u64 = 64 * 1024;

/// What one peer did.
struct Outcome {
    name: &'static str,
    status: Option<i32>,
    events: Vec<Value>,
    stderr: String,
}

impl Outcome {
    fn event(&self, name: &str) -> Option<&Value> {
        self.events.iter().rev().find(|event| event["event"] == name)
    }

    /// What went wrong, if anything.
    fn fault(&self) -> Option<String> {
        let status = match self.status {
            Some(0) => return None,
            Some(status) => format!("exit status {status}"),
            None => "did not end by itself".to_owned(),
        };
        let reason = self.event("error").and_then(|event| event["text"].as_str()).unwrap_or_default();
        let ended = self.event("ended").and_then(|event| event["detail"].as_str()).unwrap_or_default();
        let words = [reason, ended, self.stderr.trim()].into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        Some(format!("{} failed ({status}) {words}", self.name))
    }
}

pub(crate) async fn run(options: Demo, printer: Arc<Printer>) -> Result<ExitStatus, Failure> {
    let record = recording(&options)?;
    let ends = signals::heed();
    let mut servers = OneRun::new(ICE_USER);
    servers.start_broker(Access::Anonymous).await?;
    servers.start_turn().await?;
    let [broker, turn] = [servers.broker_url(), servers.turn_url()].map(|url| url.expect("both were started"));
    let password = servers.password();
    let show = options.show.unwrap_or_else(default_show);
    let common = |id: &str| {
        let mut arguments: Vec<String> = ["--id", id, "--broker", &broker, "--ice", &turn, "--ice-user", ICE_USER]
            .into_iter()
            .chain(["--video", "test", "--audio", "tone", "--play", "none", "--no-log", "--json"])
            .map(str::to_owned)
            .collect();
        arguments.push(format!("--codec={}", options.codec));
        arguments.extend(options.relay_only.then(|| "--relay-only".to_owned()));
        arguments
    };
    let mut bob = vec!["listen".to_owned(), "--answer=auto".into(), "--once".into(), "--show=none".into()];
    bob.extend(common("bob"));
    let mut alice = vec!["call".to_owned(), "bob".into(), format!("--show={}", name(&show))];
    alice.push(format!("--duration={}ms", options.duration.as_millis()));
    alice.push(format!("--record={}", record.display()));
    alice.extend(options.overwrite.then(|| "--overwrite".to_owned()));
    alice.extend(common("alice"));
    if printer.is_text() {
        printer.result(&format!(
            "broker {broker}, relay {turn}; alice calls bob for {} s …",
            options.duration.as_secs_f32()
        ));
    }
    let callee = start_peer(&bob, password, Group::Own)?;
    let (bob_online, online) = oneshot::channel();
    let last_resort = tokio::time::Instant::now() + options.duration + PATIENCE;
    let (alice_done, done) = oneshot::channel::<()>();
    let no_longer_needed = async {
        // Without alice there is nothing left for bob but to hang up.
        let _done = done.await;
        tokio::time::sleep(FAREWELL).await;
    };
    let (callee, caller) =
        tokio::join!(watch("bob", callee, &printer, no_longer_needed, Some(bob_online), ends.clone()), async {
            // Where bob fails before he is online, the sender is dropped and alice's call says the rest.
            let _failed = online.await;
            // Where she shows the call she needs the terminal, of which a group of her own would be in the background.
            let group = if show == Show::Terminal { Group::Ours } else { Group::Own };
            let alice = start_peer(&alice, password, group)?;
            let outcome =
                watch("alice", alice, &printer, tokio::time::sleep_until(last_resort), None, ends.clone()).await;
            drop(alice_done);
            outcome
        });
    servers.stop().await;
    conclude(&caller?, &callee?, &printer)
}

fn conclude(caller: &Outcome, callee: &Outcome, printer: &Printer) -> Result<ExitStatus, Failure> {
    if printer.is_text()
        && let (Some(alice), Some(bob)) = (caller.event("summary"), callee.event("summary"))
    {
        printer.result(&report::of_two(alice, bob));
    }
    if [caller, callee].into_iter().any(|side| side.status == Some(i32::from(ExitStatus::Interrupted.code()))) {
        return Ok(ExitStatus::Interrupted);
    }
    let faults: Vec<String> = [caller, callee].into_iter().filter_map(Outcome::fault).collect();
    if !faults.is_empty() {
        return Err(Failure::new(ExitStatus::NoMedia, faults.join("; ")));
    }
    for side in [caller, callee] {
        let received = &side.event("summary").unwrap_or(&Value::Null)["received"];
        if received["video"]["frames"].as_u64().unwrap_or(0) == 0
            || received["audio"]["frames"].as_u64().unwrap_or(0) == 0
        {
            return Err(Failure::new(ExitStatus::NoMedia, format!("{} saw or heard nothing", side.name)));
        }
    }
    Ok(ExitStatus::Done)
}

/// Who else hears of a Ctrl-C at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// The peer too.
    Ours,
    /// The peer only from us.
    Own,
}

fn start_peer(arguments: &[String], password: &str, group: Group) -> Result<Child, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::internal(format!("own path unknown: {error}")))?;
    let mut command = Command::new(program);
    // The user's own settings are for real calls.
    child::hide_settings(&mut command);
    command.args(arguments).env("TRING_ICE_PASSWORD", password).env("TRING_CONFIG", "/dev/null").kill_on_drop(true);
    // So are the user's key, and what is remembered of peers.
    command.env("TRING_SECRET_KEY", identity::of_this_program().to_text().as_str());
    if group == Group::Own {
        command.process_group(0);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| Failure::internal(format!("cannot start a peer: {error}")))
}

/// Reads a peer's events until it ends, telling when it is online; one that still runs at its `end` is killed.
async fn watch(
    name: &'static str,
    mut child: Child,
    printer: &Printer,
    end: impl Future<Output = ()>,
    mut online: Option<oneshot::Sender<()>>,
    mut ends: Ends,
) -> Result<Outcome, Failure> {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Failure::internal("a peer has no output"));
    };
    let mut events = Vec::new();
    let reading = async {
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let event = serde_json::from_str::<Value>(&line);
            printer.pass_on(&line, event.as_ref().unwrap_or(&Value::Null));
            match event {
                // A minute of figures a call is of no use here, and would grow with the call.
                Ok(event) if event["event"] == "stats" => {}
                Ok(event) => {
                    if event["event"] == "online"
                        && let Some(online) = online.take()
                    {
                        // Nobody waits any more when alice could not be started.
                        let _gone = online.send(());
                    }
                    events.push(event);
                }
                Err(error) => tracing::warn!(name, %error, "a peer printed what is no event"),
            }
        }
        drop(online);
    };
    let mut text = Vec::new();
    let complaining = async {
        // Whatever could be read is shown; more is not needed.
        let _partly = stderr.take(STDERR_MAX).read_to_end(&mut text).await;
    };
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let all = async { tokio::join!(reading, complaining, child.wait()).2 };
    let given_up = async {
        while ends.next().await != End::AtOnce {
            if let Some(pid) = pid {
                // An error means that it has ended already.
                let _ended = kill_process(pid, Signal::INT);
            }
        }
    };
    let status = tokio::select! {
        ended = all => {
            ended.map_err(|error| Failure::internal(format!("{name} cannot be waited for: {error}")))?.code()
        }
        // Dropped with its handle, the child is killed.
        () = end => None,
        () = given_up => None,
    };
    Ok(Outcome { name, status, events, stderr: String::from_utf8_lossy(&text).into_owned() })
}

fn default_show() -> Show {
    if std::io::stdout().is_terminal() { Show::Terminal } else { Show::None }
}

const fn name(show: &Show) -> &'static str {
    match show {
        Show::Window => "window",
        Show::Terminal => "terminal",
        Show::None => "none",
    }
}

/// The file to record to: the one that was named, or one of our own that is not there yet.
fn recording(options: &Demo) -> Result<PathBuf, Failure> {
    let existing = if options.overwrite { Existing::Replace } else { Existing::Keep };
    match &options.record {
        Some(file) => outputs::check_new(file, existing).map(|()| file.clone()),
        None if options.overwrite => Ok(default_recording(options.codec)),
        None => Ok(outputs::free_name(&default_recording(options.codec))),
    }
}

fn default_recording(codec: VideoCodec) -> PathBuf {
    match codec {
        VideoCodec::Vp8 => "tring-demo.webm".into(),
        VideoCodec::H264 => "tring-demo.mp4".into(),
    }
}

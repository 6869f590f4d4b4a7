//! The desktop's notification of an incoming call, by the program `notify-send`.
//!
//! A task owns the program it started: `notify-send --wait` shows the notification as long as it runs, and takes it away
//! when it is interrupted. Nothing waits for a desktop: where there is none, or no such program, a log line says so.
//!
//! - [`Notifier::call`] → `notify-send --wait`; dropped with its [`Showing`]: SIGINT, and by force when that does not help
//! - [`Notifier::missed`] → `notify-send`, which ends at once

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use signalling::id::PeerId;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use crate::platform::child;

/// What shows notifications.
const PROGRAM: &str = "notify-send";

/// How long it may take to show or to take away.
const PATIENCE: Duration = Duration::from_secs(1);

/// Longest a call rings (the caller gives up by then), for desktops that heed it.
const EXPIRY_MS: &str = "125000";

/// Shows notifications, each in a task of its own.
#[derive(Debug)]
pub(crate) struct Notifier {
    /// `None`: nobody wants any, or there is no desktop.
    tasks: Option<JoinSet<()>>,
}

/// A notification on the screen; taken away once dropped.
#[derive(Debug)]
pub(crate) struct Showing {
    _ends: DropGuard,
}

impl Notifier {
    /// Shows none.
    pub(crate) const fn silent() -> Self {
        Self { tasks: None }
    }

    /// Shows them where there is a desktop.
    pub(crate) fn of_this_desktop() -> Self {
        let found = ["DBUS_SESSION_BUS_ADDRESS", "WAYLAND_DISPLAY", "DISPLAY"].into_iter().find(|name| {
            // An empty one is as good as none.
            std::env::var_os(name).is_some_and(|value| !value.is_empty())
        });
        match found {
            Some(_) => Self { tasks: Some(JoinSet::new()) },
            None => {
                debug!("no desktop, so no notifications");
                Self::silent()
            }
        }
    }

    /// Shows who is calling.
    pub(crate) fn call(&mut self, caller: &PeerId) -> Option<Showing> {
        let tasks = self.tasks.as_mut()?;
        // Those that are over.
        while tasks.try_join_next().is_some() {}
        let arguments =
            ["--wait", "--urgency=critical", "--category=call.incoming", "--expire-time", EXPIRY_MS].map(str::to_owned);
        let mut command = command(&arguments, &format!("{caller} is calling"));
        let ends = CancellationToken::new();
        let over = ends.clone();
        tasks.spawn(async move {
            if let Err(error) = show_until(&mut command, &over).await {
                debug!(%error, "{PROGRAM} does not show the call");
            }
        });
        Some(Showing { _ends: ends.drop_guard() })
    }

    /// Says that a call was missed; stays until it is seen.
    pub(crate) fn missed(&mut self, caller: &PeerId, at: &str) {
        let Some(tasks) = self.tasks.as_mut() else { return };
        let mut command =
            command(&["--category=call.unanswered".to_owned()], &format!("missed call from {caller} at {at}"));
        tasks.spawn(async move {
            let shown = async { command.spawn()?.wait().await };
            match tokio::time::timeout(PATIENCE, shown).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => debug!(%status, "{PROGRAM} does not show the missed call"),
                Ok(Err(error)) => debug!(%error, "{PROGRAM} does not show the missed call"),
                Err(_) => debug!("{PROGRAM} takes too long"),
            }
        });
    }

    /// Waits until all that is to be shown or taken away has been, at most some seconds.
    pub(crate) async fn finish(&mut self) {
        let Some(mut tasks) = self.tasks.take() else { return };
        let all = async { while tasks.join_next().await.is_some() {} };
        // Those that hang are killed as the set is dropped.
        let _in_time = tokio::time::timeout(2 * PATIENCE, all).await;
    }
}

/// The program, killed when nobody waits for it any more.
fn command(arguments: &[String], summary: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    // It is somebody else's program, and so is what the desktop starts for it.
    child::hide_settings(&mut command);
    command.args(["--app-name", "tring"]).args(arguments).arg("--").arg(summary);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

/// Shows a notification until it is over or somebody closes it.
async fn show_until(command: &mut Command, over: &CancellationToken) -> io::Result<()> {
    let mut child = command.spawn()?;
    tokio::select! {
        // Closed by hand, or failed at once.
        ended = child.wait() => {
            let status = ended?;
            if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
        }
        () = over.cancelled() => take_away(&mut child).await,
    }
}

async fn take_away(child: &mut Child) -> io::Result<()> {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        kill_process(pid, Signal::INT)?;
    }
    match tokio::time::timeout(PATIENCE, child.wait()).await {
        Ok(ended) => ended.map(drop),
        Err(_) => child.kill().await,
    }
}

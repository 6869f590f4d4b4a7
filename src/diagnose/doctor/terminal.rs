//! Where pictures would be shown: the terminal this runs in, or a window, which is opened for a moment.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use media::devices::{self, Screen};
use media::display::window::WindowClient;
use media::display::{Pictures, Show};
use media::queue;
use tokio::sync::mpsc;

use super::{Finding, Look, aside};

/// How long a window may take; the desktop itself gets five seconds.
const PATIENCE: Duration = Duration::from_secs(7);

/// `show` is what a call would use, `asked` what `--show` names. A call goes on without a view, so nothing fails here.
pub(super) async fn check(show: Show, asked: Option<Show>, windows: WindowClient) -> Finding {
    let look = Look::at("terminal");
    if asked == Some(Show::None) {
        return look.skipped("pictures are not shown, as --show none asks");
    }
    let screens = devices::screens();
    let detail = describe(show, &screens, std::io::stdout().is_terminal());
    match show {
        Show::None => look.warning(
            format!("{detail}; pictures would not be shown"),
            "run it in a terminal or on a desktop, or pass --show none",
        ),
        Show::Terminal if !screens.iter().any(|screen| screen.show == "terminal") => look
            .warning(format!("{detail}; pictures would not be shown"), "run it in a terminal, or pass another --show"),
        Show::Terminal => look.ok(detail),
        Show::Window => match aside(PATIENCE, move || open(&windows)).await {
            Some(Ok(())) => look.ok(format!("{detail}; it opens")),
            Some(Err(text)) => {
                let (cause, fix) = text.rsplit_once("; ").unwrap_or((&text, "pass --show terminal"));
                look.warning(format!("{detail}; {cause}"), fix)
            }
            None => look.warning(format!("{detail}; the desktop does not answer"), "pass --show terminal"),
        },
    }
}

/// Opens a window and closes it.
fn open(windows: &WindowClient) -> Result<(), String> {
    let (_remote, pictures) = queue::bounded(1);
    let (events, _unread) = mpsc::channel(1);
    let pictures = Arc::new(Pictures::new(pictures));
    windows.open("tring doctor", pictures, events).map(drop).map_err(|error| error.to_string())
}

/// What there is, and what of it a call would use.
fn describe(show: Show, screens: &[Screen], is_terminal: bool) -> String {
    let mut parts: Vec<String> = screens.iter().map(|screen| format!("{} ({})", screen.show, screen.name)).collect();
    if parts.is_empty() {
        parts.push("no terminal and no desktop".to_owned());
    }
    if !is_terminal {
        parts.push("standard output is no terminal".to_owned());
    }
    let view = match show {
        Show::Window => "a call would use a window",
        Show::Terminal => "a call would use the terminal",
        Show::None => "a call would use no view",
    };
    format!("{}; {view}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_there_is_and_what_is_used() {
        let screens = [Screen { show: "terminal", name: "80x24 characters, 24-bit colour".into() }];
        assert_eq!(
            describe(Show::Terminal, &screens, true),
            "terminal (80x24 characters, 24-bit colour); a call would use the terminal"
        );
        assert_eq!(
            describe(Show::None, &[], false),
            "no terminal and no desktop, standard output is no terminal; a call would use no view"
        );
    }
}

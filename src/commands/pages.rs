//! `tring completions` and `tring man`: made from the definition of the command line, so that they never lag behind.

use std::io;
use std::path::Path;

use clap_complete::Shell;

use crate::config;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::session;

pub(crate) fn completions(shell: Shell, printer: &Printer) -> Result<ExitStatus, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut config::command(), "tring", &mut script);
    print(script, printer)
}

/// The page of the program itself, or a page a command as files.
pub(crate) fn man(folder: Option<&Path>, printer: &Printer) -> Result<ExitStatus, Failure> {
    match folder {
        Some(folder) => {
            let failed = |error| Failure::usage(format!("cannot write pages to {}: {error}", folder.display()));
            let mut command = config::command().disable_help_subcommand(true);
            command.build();
            write_pages(&command, folder).map_err(failed)?;
            Ok(ExitStatus::Done)
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(config::command()).render(&mut page).map_err(Failure::internal)?;
            page.extend(statuses().into_bytes());
            print(page, printer)
        }
    }
}

/// A page for this command and one for each below it, as `tring-call.1`.
fn write_pages(command: &clap::Command, folder: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, folder)?;
    }
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    text.extend(further_sections(command.get_display_name().unwrap_or_else(|| command.get_name())).into_bytes());
    std::fs::write(folder.join(page.get_filename()), text)
}

/// What the definition of the command line does not hold.
fn further_sections(command: &str) -> String {
    let examples = match command {
        "tring" => return statuses(),
        "tring-call" => CALL_EXAMPLES,
        "tring-listen" => LISTEN_EXAMPLES,
        "tring-redial" => REDIAL_EXAMPLES,
        _ => return String::new(),
    };
    let keys = table("KEYS", session::KEYS.iter().filter_map(|line| line.split_once("  ")));
    let examples = table("EXAMPLES", examples.iter().copied());
    statuses() + &keys + &examples
}

/// Commands, and what they do.
const CALL_EXAMPLES: &[(&str, &str)] = &[
    ("tring call bob --id alice --broker mqtt://192.168.1.10", "Alice rings bob."),
    ("tring call bob --wait", "The same, as soon as bob is there and free."),
    ("tring call bob --video test --audio tone --play none", "With test media: no camera, microphone or speaker."),
    ("tring call bob --record bob.webm --duration 5m", "Record what bob sends, and hang up after five minutes."),
    (
        "tring call bob --ice turn:turn.example --ice-user alice --ice-password-file turn.pw",
        "Through a relay, where nothing else gets through.",
    ),
];

const LISTEN_EXAMPLES: &[(&str, &str)] = &[
    ("tring listen --id bob --broker mqtt://192.168.1.10", "Bob waits for calls, and is asked whether to answer."),
    ("tring listen --id door --answer auto --from alice", "A camera that alice alone may look through."),
    ("tring listen --once --json", "One call, told as JSON lines."),
];

const REDIAL_EXAMPLES: &[(&str, &str)] = &[("tring redial", "Call again whom you called last.")];

fn statuses() -> String {
    let codes: Vec<(String, &str)> = ExitStatus::table().map(|(code, meaning)| (code.to_string(), meaning)).collect();
    table("EXIT STATUS", codes.iter().map(|(code, meaning)| (code.as_str(), *meaning)))
}

/// A section of terms and what they mean (man(7): .SH, .TP, .B).
fn table<'a>(heading: &str, rows: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let plain = |text: &str| text.trim().replace('\\', "\\e").replace('-', "\\-");
    let rows = rows.map(|(term, meaning)| format!(".TP\n\\fB{}\\fR\n{}\n", plain(term), plain(meaning)));
    std::iter::once(format!(".SH \"{heading}\"\n")).chain(rows).collect()
}

fn print(text: Vec<u8>, printer: &Printer) -> Result<ExitStatus, Failure> {
    printer.result(String::from_utf8(text).map_err(Failure::internal)?.trim_end());
    Ok(ExitStatus::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_a_call_has_statuses_keys_and_examples() {
        let folder = std::env::temp_dir().join(format!("tring-man-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = config::command().disable_help_subcommand(true);
        command.build();
        write_pages(&command, &folder).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        for page in ["tring-call.1", "tring-listen.1", "tring-redial.1"] {
            let text = read(page);
            for heading in ["EXIT STATUS", "KEYS", "EXAMPLES"] {
                assert!(text.contains(&format!(".SH \"{heading}\"")), "{page}: {heading}");
            }
            assert!(text.contains(".TP\n\\fB13\\fR\nnobody is there by that ID"), "{text}");
            assert!(text.contains("\\fBm\\fR\nmicrophone off and on"), "{text}");
        }
        assert!(read("tring.1").contains("EXIT STATUS"));
        let _absent = std::fs::remove_dir_all(&folder);
    }
}

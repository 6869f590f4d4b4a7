//! `tring completions` and `tring man`: made from the definition of the command line, so that they never lag behind.

use std::path::Path;

use clap_complete::Shell;

use crate::config;
use crate::exit::{ExitStatus, Failure};
use crate::printer::Printer;

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
            clap_mangen::generate_to(config::command(), folder).map_err(failed)?;
            Ok(ExitStatus::Done)
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(config::command()).render(&mut page).map_err(Failure::internal)?;
            print(page, printer)
        }
    }
}

fn print(text: Vec<u8>, printer: &Printer) -> Result<ExitStatus, Failure> {
    printer.result(String::from_utf8(text).map_err(Failure::internal)?.trim_end());
    Ok(ExitStatus::Done)
}

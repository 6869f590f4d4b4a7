//! `tring doctor`.

use std::io::IsTerminal as _;
use std::sync::Arc;

use media::display::window::WindowClient;
use signalling::mqtt::Audience;

use crate::cli::{Common, Doctor, Habits};
use crate::config::InForce;
use crate::diagnose::doctor::events::{Check, DoctorEvent};
use crate::diagnose::doctor::report::{self, Colours};
use crate::diagnose::doctor::{self, Finding, NamedBroker, Plan};
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::settings::Settings;

pub(crate) async fn run(
    options: Doctor,
    in_force: &InForce,
    printer: Arc<Printer>,
    windows: WindowClient,
) -> Result<ExitStatus, Failure> {
    let broker = if in_force.is_set("broker") { NamedBroker::Given } else { NamedBroker::Default };
    let (asked_show, link) = (options.media.show, options.link.clone());
    let common = Common { media: options.media, link: options.link, habits: Habits::NONE, control: None };
    let settings = Settings::resolve(&common, Audience::Only(Vec::new()))?;
    let withheld = in_force.withheld();
    let mut running = doctor::start(Plan { settings, link, withheld, broker, asked_show, windows });
    let colours = colours();
    let mut findings = Vec::new();
    while let Some(found) = running.next().await {
        found.iter().for_each(|finding| print(&printer, finding, colours));
        findings.extend(found);
    }
    let conclusion = report::conclude(&findings);
    if printer.is_json() {
        let (failed, warnings) = (conclusion.failed, conclusion.warnings);
        printer.tell(&DoctorEvent::Doctor { status: conclusion.status.code(), failed, warnings });
    } else {
        printer.result(&report::closing(&conclusion));
    }
    Ok(conclusion.status)
}

fn print(printer: &Printer, finding: &Finding, colours: Colours) {
    if printer.is_json() {
        printer.tell(&DoctorEvent::Check(Box::new(Check {
            name: finding.name,
            target: finding.target.clone(),
            status: finding.status(),
            detail: finding.detail.clone(),
            fix: finding.fix().map(str::to_owned),
            millis: finding.took.as_micros() as f64 / 1000.0,
        })));
    } else if printer.is_text() || finding.fix().is_some() {
        // Quiet leaves what needs no doing.
        printer.coloured_result(&report::line(finding, colours));
    }
}

fn colours() -> Colours {
    let wanted = std::env::var_os("NO_COLOR").is_none() && std::io::stdout().is_terminal();
    if wanted { Colours::On } else { Colours::Off }
}

//! `tring`, a video phone for the terminal. This file wires: arguments in, a command run, an exit status out.

mod calltest;
mod cli;
mod commands;
mod config;
mod diagnose;
#[cfg(test)]
mod house;
mod output;
mod phone;
mod platform;
mod servers;

use std::process::ExitCode;
use std::sync::Arc;

use media::display::window::{self, WindowClient};

use cli::Command;
use config::{InForce, Parsed};
use output::events::ProgramEvent;
use output::exit::{ExitStatus, Failure};
use output::printer::Printer;
use output::{logging, streams};
use platform::signals;

/// What to do when the broker that nobody named is not there.
const DEFAULT_BROKER: &str =
    "no broker was named, so this is the default: name yours by --broker, or start one here by `tring serve`";

fn main() -> ExitCode {
    let status = program().unwrap_or_else(|failure| {
        streams::complain(&failure.text);
        failure.status
    });
    let status = streams::finish(status);
    signals::restore_terminal();
    ExitCode::from(status.code())
}

fn program() -> Result<ExitStatus, Failure> {
    signals::install().map_err(|error| Failure::internal(format!("cannot listen for signals: {error}")))?;
    let Parsed { cli, in_force } = match config::parse()? {
        config::Outcome::Command(parsed) => *parsed,
        config::Outcome::Over(status) => return Ok(status),
    };
    logging::init(cli.output);
    let withheld = in_force.withheld();
    if !matches!(cli.command, Command::Config(_)) {
        withheld.iter().for_each(|login| tracing::warn!("{login}"));
    }
    // Several of our libraries use rustls; whichever comes first would otherwise have to guess.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let printer = Arc::new(Printer::new(cli.output));
    let (host, windows) = window::main_thread();
    let reporting = Arc::clone(&printer);
    let program =
        std::thread::Builder::new().name("program".into()).spawn(move || run(cli.command, in_force, printer, windows));
    // Windows need the main thread on some systems; it sleeps here until one is opened, and ends with the program.
    host.run();
    let result = match program.map(std::thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(Failure::internal("internal error; please report what is written above")),
        Err(error) => Err(Failure::internal(format!("cannot start: {error}"))),
    };
    result.map_err(|failure| config::explained(failure, &withheld)).inspect_err(|failure| {
        reporting.tell(&ProgramEvent::Error { status: failure.status.code(), text: failure.text.clone() });
    })
}

fn run(
    command: Command,
    in_force: InForce,
    printer: Arc<Printer>,
    windows: WindowClient,
) -> Result<ExitStatus, Failure> {
    // Two threads carry a call: the engine's packets, and everything else. Many calls take what the machine has.
    let threads = match &command {
        Command::Load(_) => std::thread::available_parallelism().map_or(2, usize::from).max(2),
        _ => 2,
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(threads).enable_all().build().map_err(Failure::internal)?;
    let is_broker_given = in_force.is_set("broker");
    let result = runtime.block_on(async {
        match command {
            Command::Call(call) => commands::call::run(call, &in_force.contacts, printer, windows).await,
            Command::Redial(redial) => commands::redial::run(redial, printer, windows).await,
            Command::Listen(listen) => commands::listen::run(listen, &in_force.contacts, printer, windows).await,
            Command::Id(id) => commands::id::run(id, &printer),
            Command::Contacts(contacts) => commands::contacts::run(contacts, printer).await,
            Command::Log(log) => commands::log::run(&log, &printer),
            Command::Devices => commands::devices::run(printer).await,
            Command::Config(config) => commands::config::run(&config, &in_force, &printer),
            Command::Doctor(doctor) => commands::doctor::run(doctor, &in_force, printer, windows).await,
            Command::Completions { shell } => commands::pages::completions(shell, &printer),
            Command::Man { folder } => commands::pages::man(folder.as_deref(), &printer),
            Command::Demo(demo) => commands::demo::run(demo, printer).await,
            Command::Load(load) => commands::load::run(load, &in_force, printer, windows).await,
            Command::Test(test) => commands::test::run(test, &in_force, printer, windows).await,
            Command::Trace(trace) => commands::trace::run(trace, printer).await,
            Command::Agent(agent) => commands::agent::run(agent, printer).await,
            Command::Serve(serve) => commands::serve::run(serve, printer).await,
        }
    });
    // A read from standard input cannot be cancelled; nobody waits for it.
    runtime.shutdown_background();
    // Nobody may know of the default, let alone have a broker there.
    result.map_err(|failure| match failure.status {
        ExitStatus::BrokerUnreachable if !is_broker_given => failure.and(DEFAULT_BROKER),
        _ => failure,
    })
}

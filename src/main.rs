//! `tring`, a video phone for the terminal. This file wires: arguments in, a command run, an exit status out.

mod cli;
mod commands;
mod doctor;
mod events;
mod exit;
mod logging;
mod printer;
mod serve;
mod session;
mod settings;
mod usage;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use media::display::window::{self, WindowClient};

use cli::{Cli, Command};
use events::Event;
use exit::{ExitStatus, Failure};
use printer::Printer;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::init(cli.output);
    // Several of our libraries use rustls; whichever comes first would otherwise have to guess.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let printer = Arc::new(Printer::new(cli.output));
    let (host, windows) = window::main_thread();
    let reporting = Arc::clone(&printer);
    let program = std::thread::Builder::new().name("program".into()).spawn(move || run(cli.command, printer, windows));
    // Windows need the main thread on some systems; it sleeps here until one is opened, and ends with the program.
    host.run();
    let result = match program.map(std::thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(Failure::internal("internal error; please report what is written above")),
        Err(error) => Err(Failure::internal(format!("cannot start: {error}"))),
    };
    let status = result.unwrap_or_else(|failure| {
        reporting.tell(&Event::Error { status: failure.status.code(), text: failure.text.clone() });
        // Without a stderr the status still tells.
        let _gone = writeln!(std::io::stderr(), "tring: {}", failure.text);
        failure.status
    });
    ExitCode::from(status.code())
}

fn run(command: Command, printer: Arc<Printer>, windows: WindowClient) -> Result<ExitStatus, Failure> {
    // Two threads carry a call: the engine's packets, and everything else.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().map_err(Failure::internal)?;
    let result = runtime.block_on(async {
        match command {
            Command::Call(call) => commands::call::run(call, printer, windows).await,
            Command::Listen(listen) => commands::listen::run(listen, printer, windows).await,
            Command::Contacts(contacts) => commands::contacts::run(contacts, printer).await,
            Command::Devices => commands::devices::run(printer).await,
            Command::Doctor(doctor) => commands::doctor::run(doctor, printer, windows).await,
            Command::Completions { shell } => commands::pages::completions(shell, &printer),
            Command::Man { folder } => commands::pages::man(folder.as_deref(), &printer),
            Command::Demo(demo) => commands::demo::run(demo, printer).await,
            Command::Serve(serve) => commands::serve::run(serve, printer).await,
        }
    });
    // A read from standard input cannot be cancelled; nobody waits for it.
    runtime.shutdown_background();
    result
}

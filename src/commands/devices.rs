//! `tring devices`.

use std::fmt::Write as _;
use std::sync::Arc;

use media::devices::{self, AudioDevice, Devices};

use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;

pub(crate) async fn run(printer: Arc<Printer>) -> Result<ExitStatus, Failure> {
    let devices = tokio::task::spawn_blocking(devices::list).await.map_err(Failure::internal)?;
    let text = if printer.is_json() {
        serde_json::to_string(&devices).map_err(Failure::internal)?
    } else {
        describe(&devices)
    };
    printer.result(text.trim_end());
    Ok(ExitStatus::Done)
}

fn describe(devices: &Devices) -> String {
    let mut text = String::new();
    let cameras = devices.cameras.iter().map(|camera| {
        let formats =
            if camera.formats.is_empty() { String::new() } else { format!(" ({})", camera.formats.join(", ")) };
        format!("camera:{} {}{formats}", camera.index, camera.name)
    });
    section(&mut text, "Cameras (--video)", cameras.collect(), devices.cameras_error.as_deref());
    let microphones = audio("mic", &devices.microphones);
    section(&mut text, "Microphones (--audio)", microphones, devices.microphones_error.as_deref());
    let speakers = audio("speaker", &devices.speakers);
    section(&mut text, "Speakers (--play)", speakers, devices.speakers_error.as_deref());
    let screens = devices.screens.iter().map(|screen| format!("{} {}", screen.show, screen.name));
    section(&mut text, "Screens (--show)", screens.collect(), devices.screens_error.as_deref());
    text
}

fn audio(role: &str, list: &[AudioDevice]) -> Vec<String> {
    let line = |device: &AudioDevice| {
        let default = if device.default { " (default)" } else { "" };
        format!("{role}:{} {}{default}", device.id, device.name)
    };
    list.iter().map(line).collect()
}

fn section(text: &mut String, title: &str, lines: Vec<String>, error: Option<&str>) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "{title}:");
    for line in &lines {
        let _infallible = writeln!(text, "  {line}");
    }
    if lines.is_empty() {
        let _infallible = writeln!(text, "  none{}", error.map(|error| format!(": {error}")).unwrap_or_default());
    }
}

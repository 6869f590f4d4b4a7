//! `tring id`: our key, for others to compare.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde::Serialize;
use signalling::id::PeerId;

use crate::cli::Id;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::identity::{self, Identity};
use crate::phone::settings;

/// What programs are told.
#[derive(Serialize)]
struct Shown {
    id: PeerId,
    words: String,
    fingerprint: String,
    keys: String,
    file: Option<String>,
}

pub(crate) fn run(options: Id, printer: &Printer) -> Result<ExitStatus, Failure> {
    let id = options.id.unwrap_or_else(settings::default_id);
    let (keys, file) = match &options.secret_key {
        Some(secret) => (identity::of_text(secret.expose())?, None),
        None => match identity::own(&id)? {
            Identity { passing: Some(why), .. } => return Err(Failure::usage(why)),
            Identity { keys, passing: None } => (keys, identity::file_of(&id)),
        },
    };
    let keys = *keys.public();
    let fingerprint = keys.fingerprint();
    let shown = Shown {
        words: fingerprint.words(),
        fingerprint: fingerprint.to_string(),
        keys: keys.to_string(),
        file: file.map(|file| file.display().to_string()),
        id,
    };
    if printer.is_json() {
        printer.result(&serde_json::to_string(&shown).map_err(Failure::internal)?);
        return Ok(ExitStatus::Done);
    }
    printer.result(&format!("{}\n  {}\n  {}", shown.id, shown.words, shown.fingerprint));
    if !options.no_qr {
        printer.result(&qr_code(&format!("tring:{}?key={}", shown.id, shown.keys))?);
    }
    Ok(ExitStatus::Done)
}

/// Light on dark, as terminals are: scanners take both.
fn qr_code(text: &str) -> Result<String, Failure> {
    let code = QrCode::new(text).map_err(Failure::internal)?;
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

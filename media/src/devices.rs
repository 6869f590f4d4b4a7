//! What this machine has: cameras, microphones, speakers, screens.
//!
//! Owns the listing behind `tring devices`. It must never fail as a whole: what cannot be listed carries the reason.
//!
//! - cameras: [`crate::capture::camera`]
//! - microphones and speakers: [`crate::sound`], shared with the modules that open them
//! - screens: what [`crate::display`] could draw on

use serde::Serialize;

use crate::capture::camera::{self, Camera};
use crate::display::terminal;
use crate::sound::system::{self, Role};

/// Everything found, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Devices {
    /// Cameras that give pictures, by index.
    pub cameras: Vec<Camera>,
    /// Why no camera could be listed.
    pub cameras_error: Option<String>,
    /// Sources of sound.
    pub microphones: Vec<AudioDevice>,
    /// Why no microphone could be listed.
    pub microphones_error: Option<String>,
    /// Sinks for sound.
    pub speakers: Vec<AudioDevice>,
    /// Why no speaker could be listed.
    pub speakers_error: Option<String>,
    /// Places a picture can be shown on.
    pub screens: Vec<Screen>,
    /// Why there is no screen.
    pub screens_error: Option<String>,
}

/// One microphone or speaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AudioDevice {
    /// What the sound system calls it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// True for the one used when none is named.
    pub default: bool,
}

/// One place to show a picture on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Screen {
    /// What to pass as `--show`: `window` or `terminal`.
    pub show: &'static str,
    /// For people: which desktop, which kind of terminal.
    pub name: String,
}

/// Lists everything. Opens each camera for a moment; takes up to a few seconds when a sound server does not answer.
#[must_use]
pub fn list() -> Devices {
    let mut devices = Devices::default();
    match camera::list() {
        Ok(cameras) => devices.cameras = cameras,
        Err(reason) => devices.cameras_error = Some(reason),
    }
    let host = system::host();
    match sound(&host, Role::Microphone) {
        Ok(found) => devices.microphones = found,
        Err(reason) => devices.microphones_error = Some(reason),
    }
    match sound(&host, Role::Speaker) {
        Ok(found) => devices.speakers = found,
        Err(reason) => devices.speakers_error = Some(reason),
    }
    devices.screens = screens();
    if devices.screens.is_empty() {
        devices.screens_error = Some("no desktop and no terminal".to_owned());
    }
    devices
}

fn sound(host: &cpal::Host, role: Role) -> Result<Vec<AudioDevice>, String> {
    let alsa = host.id().name() == "ALSA";
    Ok(system::all(host, role)?
        .into_iter()
        .filter(|found| !system::is_monitor(&found.id))
        .filter(|found| !alsa || (is_useful_alsa_name(&found.id) && system::settings(&found.device, role).is_ok()))
        .map(|found| AudioDevice { id: found.id, name: found.name, default: found.default })
        .collect())
}

/// ALSA lists a dozen aliases a card; these are the ones that convert to whatever a program wants.
fn is_useful_alsa_name(id: &str) -> bool {
    ["default", "pulse", "pipewire"].contains(&id) || id.starts_with("plughw:") || id.starts_with("sysdefault:")
}

/// Places a picture can be shown on; opens nothing.
#[must_use]
pub fn screens() -> Vec<Screen> {
    let mut screens = Vec::new();
    if let Some(name) = crate::display::desktop() {
        screens.push(Screen { show: "window", name });
    }
    if let Some(name) = terminal::describe() {
        screens.push(Screen { show: "terminal", name });
    }
    screens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_works_on_any_machine() {
        let devices = list();
        assert!(devices.screens.is_empty() == devices.screens_error.is_some());
    }
}

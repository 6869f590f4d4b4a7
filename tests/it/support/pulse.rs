//! A PulseAudio of its own with a virtual microphone and a virtual speaker, so that no test needs a sound card.
//!
//! What is played into the microphone's sink is what a program hears; what a program plays is recorded from the
//! speaker's monitor.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::daemon::{self, Daemon};
use super::{PATIENCE, TempDir, require, run, signal_and_wait};

/// The source that programs choose as microphone.
pub const MICROPHONE: &str = "tring_mic";
/// The sink that programs choose as speaker.
pub const SPEAKER: &str = "tring_spk";
/// A source that hears what [`SPEAKER`] plays, and nothing else: a microphone before a loud speaker.
pub const ECHO: &str = "tring_echo";
/// The sink behind [`MICROPHONE`].
const VOICE: &str = "tring_voice";

/// A running PulseAudio.
pub struct Pulse {
    daemon: Daemon,
    dir: TempDir,
}

impl Pulse {
    /// Starts it, with [`MICROPHONE`] and [`SPEAKER`] as the defaults.
    pub fn start() -> Self {
        let pulseaudio = require("pulseaudio", "pulseaudio");
        let dir = TempDir::new("pulse");
        for name in ["run", "home"] {
            std::fs::create_dir(dir.file(name)).unwrap();
        }
        private(&dir.file("run"));
        let daemon = daemon::start(|| {
            let mut command = Command::new(&pulseaudio);
            command.envs(own_directories(&dir)).env_remove("PULSE_SERVER").env_remove("DISPLAY");
            command.args(["-n", "--daemonize=no", "--use-pid-file=no", "--disable-shm=true", "--exit-idle-time=-1"]);
            command.args(["--realtime=no", "--high-priority=no", "--log-target=stderr"]);
            for module in [
                format!("module-native-protocol-unix socket={} auth-anonymous=1", socket(&dir)),
                format!("module-null-sink sink_name={SPEAKER} rate=48000 channels=1"),
                format!("module-null-sink sink_name={VOICE} rate=48000 channels=1"),
                format!("module-remap-source source_name={MICROPHONE} master={VOICE}.monitor"),
                format!("module-remap-source source_name={ECHO} master={SPEAKER}.monitor"),
            ] {
                command.args(["-L", &module]);
            }
            let mut daemon = Daemon::spawn("pulseaudio", &mut command, &dir);
            daemon.until(|_| serves(&dir).then_some(()))?;
            Ok(daemon)
        });
        let pulse = Self { daemon, dir };
        run(pulse.client("pactl").args(["set-default-sink", SPEAKER]));
        run(pulse.client("pactl").args(["set-default-source", MICROPHONE]));
        pulse
    }

    /// The environment in which a program finds this PulseAudio and no other.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = own_directories(&self.dir);
        env.push(("PULSE_SERVER", format!("unix:{}", socket(&self.dir))));
        env
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Speaks a WAV file into the microphone; returns when it has been played.
    pub fn speak(&self, wav: &Path) {
        run(self.client("paplay").args(["--device", VOICE]).arg(wav));
    }

    /// Speaks a WAV file into the microphone while the test goes on; silent when it ends, or the result is dropped.
    pub fn speaking(&self, wav: &Path) -> Running {
        Running::new(self.client("paplay").args(["--device", VOICE]).arg(wav))
    }

    /// Records what the speaker plays into a WAV file, 48 kHz mono, until the result is dropped.
    pub fn recording(&self, wav: &Path) -> Running {
        self.record(&format!("{SPEAKER}.monitor"), wav)
    }

    /// Records what the microphone hears, in the same way.
    pub fn hearing(&self, wav: &Path) -> Running {
        self.record(MICROPHONE, wav)
    }

    fn record(&self, source: &str, wav: &Path) -> Running {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("recording-{}-", COUNT.fetch_add(1, Ordering::Relaxed));
        let recording = Running::new(
            self.client("parecord")
                .args(["--device", source, "--file-format=wav", "--rate=48000", "--channels=1", "--format=s16le"])
                .args(["--latency-msec=20", &format!("--stream-name={name}")])
                .arg(wav),
        );
        // From the moment it is listed nothing played is missed.
        let deadline = Instant::now() + PATIENCE;
        while !run(self.client("pactl").args(["list", "source-outputs"])).contains(&name) {
            assert!(Instant::now() < deadline, "the recording did not begin\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        recording
    }

    /// Plugs in another speaker.
    pub fn plug_speaker(&self, name: &str) {
        self.load(&["module-null-sink", &format!("sink_name={name}"), "rate=48000", "channels=1"]);
    }

    /// Plugs in another microphone, and a sink behind it of the same name with `_voice`.
    pub fn plug_microphone(&self, name: &str) {
        self.plug_speaker(&format!("{name}_voice"));
        let master = format!("master={name}_voice.monitor");
        self.load(&["module-remap-source", &format!("source_name={name}"), &master]);
    }

    /// Takes out a speaker or a microphone, with all that its streams have not played yet.
    pub fn unplug(&self, name: &str) {
        let modules = run(self.client("pactl").args(["list", "short", "modules"]));
        let is_its_own = |line: &&str| {
            line.split_whitespace()
                .any(|word| word.strip_prefix("sink_name=").or_else(|| word.strip_prefix("source_name=")) == Some(name))
        };
        let line = modules.lines().find(is_its_own).unwrap_or_else(|| panic!("no {name}: {modules}"));
        run(self.client("pactl").args(["unload-module", line.split_whitespace().next().expect("an index")]));
    }

    /// Makes a sink the default one.
    pub fn set_default_speaker(&self, name: &str) {
        run(self.client("pactl").args(["set-default-sink", name]));
    }

    /// A speaker that takes no sound, until it does.
    pub fn hold_speaker(&self, is_held: bool) {
        run(self.client("pactl").args(["suspend-sink", SPEAKER, if is_held { "1" } else { "0" }]));
    }

    /// Speaks into the microphone that was plugged in by this name.
    pub fn speaking_into(&self, name: &str, wav: &Path) -> Running {
        Running::new(self.client("paplay").args(["--device", &format!("{name}_voice")]).arg(wav))
    }

    /// Records what a speaker plays that was plugged in.
    pub fn recording_of(&self, speaker: &str, wav: &Path) -> Running {
        self.record(&format!("{speaker}.monitor"), wav)
    }

    fn load(&self, module: &[&str]) {
        run(self.client("pactl").arg("load-module").args(module));
    }

    /// One of PulseAudio's client programs, speaking to this PulseAudio.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(require(program, "pulseaudio-utils"));
        command.envs(self.env()).stdin(Stdio::null());
        command
    }
}

/// A client program at work; ended by SIGINT, at which recorders finish their file, and waited for when dropped.
pub struct Running(Child);

impl Running {
    fn new(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        signal_and_wait(&mut self.0, "INT");
    }
}

fn own_directories(dir: &TempDir) -> Vec<(&'static str, String)> {
    let path = |name| dir.file(name).to_str().expect("a plain path").to_owned();
    vec![("XDG_RUNTIME_DIR", path("run")), ("HOME", path("home"))]
}

fn socket(dir: &TempDir) -> String {
    dir.file("run/pulse.sock").to_str().expect("a plain path").to_owned()
}

fn serves(dir: &TempDir) -> bool {
    let pactl = require("pactl", "pulseaudio-utils");
    let sources = Command::new(pactl)
        .envs(own_directories(dir))
        .env("PULSE_SERVER", format!("unix:{}", socket(dir)))
        .args(["list", "short", "sources"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&sources.stdout).contains(MICROPHONE)
}

/// PulseAudio refuses a runtime directory that others can enter.
fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

//! Screens to look at: a terminal in tmux, a desktop in Xvfb.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process::clean;
use super::{PATIENCE, TempDir, require, run, signal_and_wait};

/// How often a screen is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Columns of a terminal.
pub const COLUMNS: usize = 100;

/// A terminal of its own, [`COLUMNS`] by 40 rows, with 24-bit colours.
pub struct Tmux {
    dir: TempDir,
}

impl Tmux {
    /// Runs a shell script in it; the terminal stays when the script has ended.
    pub fn run(script: &str, folder: &Path) -> Self {
        let tmux = Self { dir: TempDir::new("tmux") };
        let script = tmux.dir.write("script", &format!("{script}\nexec sleep 600\n"));
        let columns = COLUMNS.to_string();
        let mut command = tmux.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", "40", "-c"]);
        command.arg(folder).args(["sh", script.to_str().expect("a plain path")]);
        // Whoever runs the tests has settings too, which are not meant here.
        clean(&mut command);
        command.env("XDG_CONFIG_HOME", tmux.dir.path()).env("XDG_STATE_HOME", tmux.dir.path());
        command.env("COLORTERM", "truecolor").env_remove("TMUX").env_remove("DISPLAY").env("LC_ALL", "C.UTF-8");
        run(&mut command);
        tmux
    }

    /// What it shows, with colours as escape sequences.
    pub fn shown(&self) -> String {
        run(&mut self.tmux(&["capture-pane", "-e", "-p"]))
    }

    /// Waits until it shows what is wanted.
    ///
    /// # Panics
    /// With what it shows instead.
    pub fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.shown();
            if wanted(&shown) {
                return shown;
            }
            assert!(Instant::now() < deadline, "{what} is not to be seen\n{shown}");
            std::thread::sleep(LOOK);
        }
    }

    /// A variable of tmux's own, such as `cursor_flag`.
    pub fn variable(&self, name: &str) -> String {
        run(&mut self.tmux(&["display-message", "-p", &format!("#{{{name}}}")])).trim().to_owned()
    }

    /// Types a key.
    pub fn press(&self, key: &str) {
        run(&mut self.tmux(&["send-keys", key]));
    }

    fn tmux(&self, args: &[&str]) -> Command {
        let mut command = Command::new(require("tmux", "tmux"));
        command.arg("-u").arg("-S").arg(self.dir.file("socket")).args(args);
        command
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.tmux(&["kill-server"]).output();
    }
}

/// A desktop of its own, without a window manager.
pub struct Xvfb {
    server: Child,
    display: String,
}

/// What a desktop shows.
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Red, green and blue of each pixel, from the top left.
    pub pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// The pixel in this column and row.
    pub fn at(&self, column: usize, row: usize) -> [u8; 3] {
        self.pixels[row * self.width + column]
    }

    /// How many pixels are about this colour.
    pub fn count(&self, colour: [u8; 3]) -> usize {
        self.pixels.iter().filter(|pixel| is_about(**pixel, colour)).count()
    }
}

/// Whether two colours are as near as a codec leaves them.
pub fn is_about(one: [u8; 3], other: [u8; 3]) -> bool {
    one.into_iter().zip(other).all(|(a, b)| a.abs_diff(b) < 48)
}

impl Xvfb {
    const WIDTH: usize = 1024;
    const HEIGHT: usize = 768;

    /// Starts it on a display that is free.
    pub fn start() -> Self {
        let screen = format!("{}x{}x24", Self::WIDTH, Self::HEIGHT);
        let mut command = Command::new(require("Xvfb", "xvfb"));
        command.args(["-displayfd", "1", "-screen", "0", &screen, "-nolisten", "tcp", "-ac"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = command.spawn().unwrap();
        let mut number = String::new();
        BufReader::new(server.stdout.take().expect("piped")).read_line(&mut number).unwrap();
        assert!(!number.trim().is_empty(), "Xvfb did not start");
        Self { server, display: format!(":{}", number.trim()) }
    }

    /// For `DISPLAY`.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// What it shows now.
    pub fn picture(&self) -> Picture {
        let mut command = Command::new(require("import", "imagemagick"));
        command.args(["-silent", "-window", "root", "-depth", "8", "rgb:-"]);
        let output = command.env("DISPLAY", &self.display).output().unwrap();
        assert_eq!(output.stdout.len(), Self::WIDTH * Self::HEIGHT * 3, "{output:?}");
        let pixels = output.stdout.chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        Picture { width: Self::WIDTH, pixels }
    }

    /// Where the window with this title is: left, top, width, height; nothing when there is none.
    pub fn window(&self, title: &str) -> Option<[usize; 4]> {
        let mut command = Command::new(require("xwininfo", "x11-utils"));
        let output = command.args(["-display", &self.display, "-name", title]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)?.trim().parse().ok());
        Some([
            number("Absolute upper-left X:")?,
            number("Absolute upper-left Y:")?,
            number("Width:")?,
            number("Height:")?,
        ])
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        signal_and_wait(&mut self.server, "TERM");
    }
}

//! Pictures as coloured character cells: two dots a cell, drawn as the upper half block with a fore- and a background.
//!
//! Pure: pictures in, bytes for a terminal out. It remembers what the terminal shows and redraws only cells that moved
//! by more than camera noise: a plain comparison would redraw everything, since every pixel of a camera trembles.

use std::io::Write;

use super::{Area, Scene, Shade, Surface};
use crate::frame::{Size, VideoFrame};
use crate::scale::Scaler;

/// A dot that moved no more than this many of 255 levels in each colour stays as it is.
const NOISE_LEVELS: u8 = 12;

/// How colours are told to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// 24 bits a colour.
    True,
    /// The 256 colours of xterm: a 6x6x6 cube and 24 greys.
    Indexed,
}

impl Colours {
    /// Reads what the environment variable `COLORTERM` says, empty when it is not set.
    #[must_use]
    pub fn from_colorterm(value: &str) -> Self {
        if matches!(value, "truecolor" | "24bit") { Self::True } else { Self::Indexed }
    }
}

type Rgb = [u8; 3];

const BLACK: Rgb = [0; 3];

/// Upper and lower dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    upper: Rgb,
    lower: Rgb,
}

/// A grid of cells, at the upper left of a terminal.
pub struct Cells {
    columns: u16,
    rows: u16,
    colours: Colours,
    /// What the terminal shows, row by row; `None` is unknown.
    shown: Vec<Option<Cell>>,
    /// What it should show: two rows of dots a row of cells.
    dots: Vec<Rgb>,
    scaler: Scaler,
    planes: [Vec<u8>; 3],
    /// Words over the cells.
    words: Vec<Words>,
    /// Whether the terminal shows them.
    words_shown: bool,
}

/// A line of text over the cells.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Words {
    row: usize,
    column: usize,
    text: String,
}

impl Words {
    fn covers(&self, row: usize, column: usize) -> bool {
        row == self.row && (self.column..self.column + self.text.chars().count()).contains(&column)
    }
}

impl Cells {
    /// A grid of `columns` times `rows` cells, of which nothing is known yet.
    #[must_use]
    pub fn new(columns: u16, rows: u16, colours: Colours) -> Self {
        let cells = usize::from(columns) * usize::from(rows);
        Self {
            columns,
            rows,
            colours,
            shown: vec![None; cells],
            dots: vec![BLACK; 2 * cells],
            scaler: Scaler::averaging(),
            planes: Default::default(),
            words: Vec::new(),
            words_shown: false,
        }
    }

    /// Appends to `out` what turns the terminal's contents into `scene`: nothing at all for an unchanged picture.
    pub fn draw(&mut self, scene: &Scene, out: &mut Vec<u8>) {
        let surface = Surface { width: u32::from(self.columns), height: 2 * u32::from(self.rows) };
        self.dots.fill(BLACK);
        for (frame, area, shade) in scene.layers(surface) {
            self.paint(frame, area, shade);
        }
        self.place_words(scene.labels.over());
        self.update(out);
        self.write_words(out);
    }

    /// Puts lines of text in the middle, each with a blank at both ends; what they covered before is drawn anew.
    fn place_words(&mut self, lines: &[String]) {
        let (columns, rows) = (usize::from(self.columns), usize::from(self.rows));
        let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        let first = rows.saturating_sub(lines.len()) / 2;
        let words = lines.iter().enumerate().take(rows).map(|(index, line)| {
            let text: String = format!(" {line:widest$} ").chars().take(columns).collect();
            Words { row: first + index, column: columns.saturating_sub(text.chars().count()) / 2, text }
        });
        let words: Vec<Words> = words.collect();
        if words == self.words {
            return;
        }
        for (index, shown) in self.shown.iter_mut().enumerate() {
            if self.words.iter().any(|words| words.covers(index / columns, index % columns)) {
                *shown = None;
            }
        }
        (self.words, self.words_shown) = (words, false);
    }

    fn write_words(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.words_shown, true) {
            return;
        }
        for Words { row, column, text } in &self.words {
            write_to(out, format_args!("\x1b[{};{}H\x1b[0;1m{text}\x1b[0m", row + 1, column + 1));
        }
    }

    fn paint(&mut self, frame: &VideoFrame, area: Area, shade: Shade) {
        let to = Size { width: area.width, height: area.height };
        let size = frame.size();
        let [y, u, v] = &mut self.planes;
        self.scaler.plane(frame.y(), size, y, to);
        self.scaler.plane(frame.u(), size.chroma(), u, to);
        self.scaler.plane(frame.v(), size.chroma(), v, to);
        let columns = usize::from(self.columns);
        let width = area.width as usize;
        let rows = self.dots.chunks_exact_mut(columns).skip(area.y as usize).take(area.height as usize);
        let planes = y.chunks_exact(width).zip(u.chunks_exact(width)).zip(v.chunks_exact(width));
        for (row, ((y, u), v)) in rows.zip(planes) {
            for (dot, ((&y, &u), &v)) in row[area.x as usize..].iter_mut().zip(y.iter().zip(u).zip(v)) {
                *dot = match shade {
                    Shade::Full => rgb(y, u, v),
                    // A third of its brightness, without colour.
                    Shade::Dimmed => rgb(y, 128, 128).map(|level| level / 3),
                };
            }
        }
    }

    /// Writes every cell that moved, and remembers it.
    fn update(&mut self, out: &mut Vec<u8>) {
        let columns = usize::from(self.columns);
        let mut pen = Pen { colours: self.colours, at: None, upper: None, lower: None };
        for (index, shown) in self.shown.iter_mut().enumerate() {
            let (row, column) = (index / columns, index % columns);
            if self.words.iter().any(|words| words.covers(row, column)) {
                continue;
            }
            let cell = Cell {
                upper: self.dots[2 * row * columns + column],
                lower: self.dots[(2 * row + 1) * columns + column],
            };
            if shown.is_none_or(|old| has_moved(old.upper, cell.upper) || has_moved(old.lower, cell.lower)) {
                pen.put(row, column, cell, out);
                *shown = Some(cell);
            }
        }
        if pen.at.is_some() {
            out.extend_from_slice(b"\x1b[0m");
        }
    }
}

fn has_moved(old: Rgb, new: Rgb) -> bool {
    old.iter().zip(new).any(|(&old, new)| old.abs_diff(new) > NOISE_LEVELS)
}

/// Writes cells and leaves out what the terminal already knows.
struct Pen {
    colours: Colours,
    /// Where the terminal's cursor stands: row and column.
    at: Option<(usize, usize)>,
    upper: Option<Rgb>,
    lower: Option<Rgb>,
}

impl Pen {
    fn put(&mut self, row: usize, column: usize, cell: Cell, out: &mut Vec<u8>) {
        if self.at != Some((row, column)) {
            write_to(out, format_args!("\x1b[{};{}H", row + 1, column + 1));
        }
        if self.upper != Some(cell.upper) {
            self.colour(38, cell.upper, out);
            self.upper = Some(cell.upper);
        }
        if self.lower != Some(cell.lower) {
            self.colour(48, cell.lower, out);
            self.lower = Some(cell.lower);
        }
        out.extend_from_slice("▀".as_bytes());
        self.at = Some((row, column + 1));
    }

    /// Selects a foreground (38) or background (48) colour (ECMA-48 SGR, ITU-T T.416).
    fn colour(&self, ground: u8, [r, g, b]: Rgb, out: &mut Vec<u8>) {
        match self.colours {
            Colours::True => write_to(out, format_args!("\x1b[{ground};2;{r};{g};{b}m")),
            Colours::Indexed => write_to(out, format_args!("\x1b[{ground};5;{}m", indexed([r, g, b]))),
        }
    }
}

fn write_to(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory cannot fail");
}

/// BT.601 limited range to full range RGB, in 1/256ths.
fn rgb(y: u8, u: u8, v: u8) -> Rgb {
    let luma = 298 * (i32::from(y) - 16) + 128;
    let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
    [luma + 409 * v, luma - 100 * u - 208 * v, luma + 516 * u].map(|level| (level >> 8).clamp(0, 255) as u8)
}

/// The nearest of xterm's colours 16 to 255.
fn indexed(colour: Rgb) -> u8 {
    const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let nearest = |level: u8| (0..6_u8).min_by_key(|&step| STEPS[usize::from(step)].abs_diff(level)).unwrap_or(0);
    let cube = colour.map(nearest);
    let mean = colour.iter().map(|&level| u16::from(level)).sum::<u16>() / 3;
    let grey = (mean.saturating_sub(3) / 10).min(23) as u8;
    let distance = |other: Rgb| -> u32 {
        colour.iter().zip(other).map(|(&level, other)| u32::from(level.abs_diff(other)).pow(2)).sum()
    };
    if distance([8 + 10 * grey; 3]) < distance(cube.map(|step| STEPS[usize::from(step)])) {
        232 + grey
    } else {
        16 + 36 * cube[0] + 6 * cube[1] + cube[2]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::display::Labels;

    /// A picture of one colour, given as Y, U, V.
    fn plain(width: u32, height: u32, [y, u, v]: [u8; 3]) -> VideoFrame {
        let mut frame = VideoFrame::black(Size { width, height }, Instant::now());
        let planes = frame.planes_mut();
        planes.0.fill(y);
        planes.1.fill(u);
        planes.2.fill(v);
        frame
    }

    fn scene(frame: VideoFrame) -> Scene {
        Scene { remote: Some(Arc::new(frame)), ..Scene::default() }
    }

    fn draw(cells: &mut Cells, scene: &Scene) -> String {
        let mut out = Vec::new();
        cells.draw(scene, &mut out);
        String::from_utf8(out).unwrap()
    }

    const RED: [u8; 3] = [81, 90, 240];
    const GREY: [u8; 3] = [126, 128, 128];

    #[test]
    fn a_red_picture_gives_red_half_blocks_and_then_nothing() {
        let mut cells = Cells::new(4, 2, Colours::True);
        let red = scene(plain(64, 64, RED));
        let text = draw(&mut cells, &red);
        assert_eq!(text.matches('▀').count(), 8);
        assert_eq!(text.matches("\x1b[38;2;25").count(), 1, "{text:?}");
        assert!(text.starts_with("\x1b[1;1H\x1b[38;2;25") && text.contains("\x1b[2;1H"), "{text:?}");
        assert_eq!(draw(&mut cells, &red), "", "a still picture costs nothing");
    }

    #[test]
    fn noise_costs_nothing_and_movement_redraws_only_its_cells() {
        let mut cells = Cells::new(8, 4, Colours::True);
        draw(&mut cells, &scene(plain(64, 64, GREY)));
        let mut noisy = plain(64, 64, GREY);
        for (index, sample) in noisy.planes_mut().0.iter_mut().enumerate() {
            *sample = (*sample - 9) + (index * 7 % 19) as u8;
        }
        assert_eq!(draw(&mut cells, &scene(noisy)), "");
        let mut moved = plain(64, 64, GREY);
        // Dots are 8x8 pixels here: the second column, second row of dots is the lower half of cell (1, 2).
        for y in 8..16 {
            moved.planes_mut().0[y * 64 + 8..y * 64 + 16].fill(235);
        }
        let text = draw(&mut cells, &scene(moved));
        assert!(text.starts_with("\x1b[1;2H") && text.matches('▀').count() == 1, "{text:?}");
        assert!(text.contains("48;2;255;255;255m"), "{text:?}");
    }

    #[test]
    fn the_aspect_is_kept_with_black_around_and_the_own_picture_on_top() {
        let mut cells = Cells::new(8, 4, Colours::True);
        let both = Scene {
            remote: Some(Arc::new(plain(64, 32, RED))),
            own: Some(Arc::new(plain(16, 16, GREY))),
            ..Scene::default()
        };
        draw(&mut cells, &both);
        let colour = |row: usize, column: usize| cells.shown[row * 8 + column].unwrap();
        assert_eq!(colour(0, 3), Cell { upper: BLACK, lower: BLACK });
        assert!(colour(1, 0).upper[0] > 250 && colour(2, 7).lower[0] > 250);
        let own = colour(3, 7);
        assert!(own.lower[0].abs_diff(own.lower[2]) < 3 && own.lower[0] > 100, "{own:?}");
    }

    #[test]
    fn a_picture_that_is_not_live_is_grey_and_says_why() {
        let mut cells = Cells::new(20, 5, Colours::True);
        let mut red = scene(plain(64, 32, RED));
        draw(&mut cells, &red);
        red.labels = Arc::new(Labels { not_live: Some("on hold".into()), ..Labels::default() });
        let text = draw(&mut cells, &red);
        assert!(text.contains("\x1b[3;6H\x1b[0;1m on hold \x1b[0m"), "{text:?}");
        let Cell { upper: [r, g, b], .. } = cells.shown[0].unwrap();
        assert!(r == g && g == b && (10..60).contains(&r), "{r} {g} {b}");
        assert_eq!(draw(&mut cells, &red), "", "what stands costs nothing");
        red.labels = Arc::default();
        let text = draw(&mut cells, &red);
        assert_eq!(text.matches('▀').count(), 100, "all of it is drawn anew");
    }

    #[test]
    fn terminals_of_256_colours_get_the_nearest() {
        for (colour, index) in
            [([255, 0, 0], 196), ([0, 0, 0], 16), ([255; 3], 231), ([128; 3], 244), ([95, 135, 175], 67)]
        {
            assert_eq!(indexed(colour), index, "{colour:?}");
        }
        let text = draw(&mut Cells::new(2, 1, Colours::Indexed), &scene(plain(2, 2, RED)));
        assert!(text.contains("\x1b[38;5;196m\x1b[48;5;196m"), "{text:?}");
        assert_eq!(Colours::from_colorterm("truecolor"), Colours::True);
        assert_eq!(Colours::from_colorterm(""), Colours::Indexed);
    }

    #[test]
    fn known_colours_survive() {
        for (yuv, wanted) in [([16, 128, 128], [0; 3]), ([235, 128, 128], [255; 3]), ([81, 90, 240], [255, 0, 0])] {
            let [y, u, v] = yuv;
            assert!(rgb(y, u, v).iter().zip(wanted).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 2), "{yuv:?}");
        }
    }

    #[test]
    fn a_terminal_without_room_is_no_problem() {
        for (columns, rows) in [(0, 0), (0, 5), (5, 0), (1, 1), (1, 60)] {
            draw(&mut Cells::new(columns, rows, Colours::True), &scene(plain(64, 48, RED)));
        }
    }
}

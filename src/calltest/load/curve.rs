//! What many calls cost, drawn over calls at once: where a curve bends, a machine is at its end.
//!
//! One SVG picture with three panels below each other: set-up time, what went wrong, processor time. Its colours follow
//! the reader's scheme: light by itself, dark by a style that readers of SVG apply.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::tally::StepSummary;

/// Size of the picture, pixels.
const SIZE: (u32, u32) = (860, 940);

/// Room above the panels for title and subtitle.
const TOP: i32 = 74;

/// Ink and lines on white.
const INK: RGBColor = RGBColor(31, 35, 40);
const FAINT: RGBColor = RGBColor(89, 99, 110);
const GRID: RGBColor = RGBColor(209, 217, 224);

/// Lines that people with any sight tell apart (Okabe and Ito).
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);
const GREEN: RGBColor = RGBColor(0, 128, 96);
const PURPLE: RGBColor = RGBColor(160, 72, 130);

/// The same on a dark ground.
const DARK: &str = "<style>@media (prefers-color-scheme: dark) {\
[fill=\"#FFFFFF\"]{fill:#0d1117} [fill=\"#1F2328\"]{fill:#e6edf3} [fill=\"#59636E\"]{fill:#9198a1} \
[stroke=\"#D1D9E0\"]{stroke:#30363d} [stroke=\"#59636E\"]{stroke:#9198a1} \
[stroke=\"#0072B2\"]{stroke:#58a6ff} [fill=\"#0072B2\"]{fill:#58a6ff} \
[stroke=\"#D55E00\"]{stroke:#f0883e} [fill=\"#D55E00\"]{fill:#f0883e} \
[stroke=\"#008060\"]{stroke:#3fb950} [fill=\"#008060\"]{fill:#3fb950} \
[stroke=\"#A04882\"]{stroke:#d2a8ff} [fill=\"#A04882\"]{fill:#d2a8ff} }</style>";

/// One line of a panel.
struct Line {
    name: &'static str,
    colour: RGBColor,
    /// `None`: nothing is known of that step.
    values: Vec<Option<f64>>,
}

/// One panel.
struct Panel {
    title: &'static str,
    unit: &'static str,
    lines: Vec<Line>,
    /// The axis reaches at least so far.
    least: f64,
}

/// The picture, as SVG; `what` says in a line what calls these were.
///
/// # Errors
/// When it cannot be drawn, in words.
pub(crate) fn draw(steps: &[StepSummary], what: &str) -> Result<String, String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(words)?;
        head(&root, what).map_err(words)?;
        let (_, body) = root.split_vertically(TOP);
        let calls: Vec<f64> = steps.iter().map(|step| f64::from(step.at_once)).collect();
        let last = panels(steps).len() - 1;
        for (index, (area, panel)) in body.split_evenly((last + 1, 1)).iter().zip(panels(steps)).enumerate() {
            let below = if index == last { "calls at once" } else { "" };
            panel.draw(area, &calls, below).map_err(words)?;
        }
        root.present().map_err(words)?;
    }
    let Some(end) = svg.find('>') else { return Err("an empty picture".to_owned()) };
    svg.insert_str(end + 1, DARK);
    Ok(svg)
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn head<'a>(root: &Area<'a>, what: &str) -> Drawn<'a> {
    let left = |size, colour| text(size, colour).pos(Pos::new(HPos::Left, VPos::Top));
    root.draw_text("Calls at once, and what becomes of them", &left(24, INK), (24, 16))?;
    root.draw_text(what, &left(14, FAINT), (24, 48))
}

fn text(size: i32, colour: RGBColor) -> TextStyle<'static> {
    let mut style = TextStyle::from(("sans-serif", size).into_font());
    style.color = colour.to_backend_color();
    style
}

fn panels(steps: &[StepSummary]) -> [Panel; 3] {
    let line = |name, colour, value: &dyn Fn(&StepSummary) -> Option<f64>| Line {
        name,
        colour,
        values: steps.iter().map(value).collect(),
    };
    let share = |count: u64, of: u64| (of > 0).then(|| 100.0 * count as f64 / of as f64);
    [
        Panel {
            title: "Set-up, from dialing to connected",
            unit: "ms",
            lines: vec![
                line("95 of 100 calls within", BLUE, &|step| step.setup_ms.p95),
                line("half of the calls within", GREEN, &|step| step.setup_ms.p50),
            ],
            least: 100.0,
        },
        Panel {
            title: "What went wrong",
            unit: "%",
            lines: vec![
                line("calls that failed", ORANGE, &|step| share(step.failed, step.placed)),
                line("calls with a frozen picture", PURPLE, &|step| share(step.frozen, step.connected)),
                line("packets lost (95 of 100 calls)", BLUE, &|step| step.loss.p95.map(|loss| loss * 100.0)),
            ],
            least: 10.0,
        },
        Panel {
            title: "Processor time",
            unit: "cores",
            lines: vec![line("of the program", BLUE, &|step| step.machine.cores)],
            least: 1.0,
        },
    ]
}

impl Panel {
    fn draw<'a>(&self, area: &Area<'a>, calls: &[f64], below: &str) -> Drawn<'a> {
        let upright = calls.iter().copied().fold(1.0, f64::max) * 1.04;
        let height = self.lines.iter().flat_map(|line| &line.values).flatten().copied().fold(self.least, f64::max);
        let (across, up): (Range<f64>, Range<f64>) = (0.0..upright, 0.0..height * 1.12);
        let title = format!("{} ({})", self.title, self.unit);
        let mut chart = ChartBuilder::on(area)
            .margin_left(16)
            .margin_right(24)
            .margin_bottom(10)
            .caption(title, text(16, INK))
            .x_label_area_size(if below.is_empty() { 26 } else { 46 })
            .y_label_area_size(58)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(FAINT)
            .label_style(text(13, FAINT))
            .axis_desc_style(text(14, FAINT))
            .x_desc(below)
            .x_labels(9)
            .y_labels(5)
            .x_label_formatter(&|calls| format!("{calls:.0}"))
            .y_label_formatter(&|value| number(*value))
            .draw()?;
        for line in &self.lines {
            let style = line.colour.stroke_width(3);
            let colour = line.colour;
            let points = || calls.iter().copied().zip(&line.values).filter_map(|(at, value)| Some((at, (*value)?)));
            chart
                .draw_series(LineSeries::new(points(), style))?
                .label(line.name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 22, y)], style));
            chart.draw_series(points().map(|point| Circle::new(point, 4, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .margin(12)
            .legend_area_size(28)
            .label_font(text(13, INK))
            .draw()
    }
}

const TRANSPARENT: RGBAColor = RGBAColor(0, 0, 0, 0.0);

/// As short as it reads: 2000, 12, 0.5.
fn number(value: f64) -> String {
    let text = if value >= 10.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calltest::load::machine::Machine;
    use crate::calltest::load::tally::Spread;

    #[test]
    fn a_picture_has_all_that_is_known_and_both_schemes() {
        let step = |at_once: u32, p95: Option<f64>| StepSummary {
            at_once,
            placed: u64::from(at_once),
            connected: u64::from(at_once),
            setup_ms: Spread { p95, ..Spread::default() },
            machine: Machine { cores: Some(f64::from(at_once) / 50.0), ..Machine::default() },
            ..StepSummary::default()
        };
        let svg = draw(&[step(10, Some(80.0)), step(20, None), step(40, Some(900.0))], "light media").unwrap();
        for part in
            ["Set-up", "What went wrong", "Processor time", "calls at once", "(ms)", "(%)", "(cores)", "light media"]
        {
            assert!(svg.contains(part), "{part}");
        }
        assert!(svg.contains("prefers-color-scheme: dark"));
        // Each colour that is swapped in the dark is one that is drawn.
        for colour in ["#FFFFFF", "#1F2328", "#59636E", "#D1D9E0", "#0072B2", "#D55E00", "#008060", "#A04882"] {
            assert!(svg.matches(colour).count() > 1, "{colour}");
        }
        assert_eq!([0.0, 0.5, 5.0, 2000.0].map(number), ["0", "0.5", "5", "2000"]);
    }
}

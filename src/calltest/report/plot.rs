//! Lines over time, as SVG to be put into a page.

use plotters::prelude::*;

/// Width and height in pixels; a page scales it.
const SIZE: (u32, u32) = (460, 170);

/// Colours of lines that can be told apart, also by those who see no difference of red and green (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// One line: what it shows and its points, seconds and values, in order.
pub(super) struct Line {
    pub(super) label: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Draws the lines; nothing without points.
pub(super) fn svg(lines: &[Line]) -> Option<String> {
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let (first, last) =
        (points().map(|point| point.0).reduce(f64::min)?, points().map(|point| point.0).reduce(f64::max)?);
    let highest = points().map(|point| point.1).fold(0.0, f64::max);
    let lowest = points().map(|point| point.1).fold(0.0, f64::min);
    // A flat line at zero has a scale too.
    let top = if highest > 0.0 { highest * 1.15 } else { 1.0 };
    // Labels of a short time would be the same several times.
    let digits = usize::from(last - first < 6.0);
    let mut text = String::new();
    let draw = |text: &mut String| -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(6)
            .x_label_area_size(22)
            .y_label_area_size(48)
            .build_cartesian_2d(first..last.max(first + 1.0), lowest * 1.15..top)?;
        let faint = BLACK.mix(0.08);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(faint)
            .axis_style(BLACK.mix(0.4))
            .x_labels(6)
            .y_labels(4)
            .x_label_formatter(&|seconds| format!("{seconds:.digits$} s"))
            .y_label_formatter(&|value| short(*value))
            .label_style(("sans-serif", 11))
            .draw()?;
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            let style = colour.stroke_width(2);
            chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        }
        area.present()?;
        Ok(())
    };
    draw(&mut text).ok()?;
    Some(text)
}

/// Names of lines in their colours, as HTML.
pub(super) fn legend(lines: &[Line]) -> String {
    let name = |(line, colour): (&Line, &RGBColor)| {
        let RGBColor(r, g, b) = colour;
        format!("<span class=\"key\"><i style=\"background:rgb({r},{g},{b})\"></i>{}</span>", line.label)
    };
    lines.iter().zip(COLOURS.iter().cycle()).map(name).collect()
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

//! Results as pictures.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::measure::document;
use crate::measure::results::{Results, WayResults};
use crate::measure::table::PHASES;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Colours that people who see few of them can tell apart (Okabe and Ito's, without the yellow).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
const KERNEL: RGBColor = RGBColor(170, 170, 170);
const FONT: &str = "sans-serif";
const SIZE: (u32, u32) = (900, 480);
const KEY_COLUMNS: i32 = 3;
const KEY_ROW: i32 = 20;

/// Draws what there are figures for.
pub fn all(results: &Results, dir: &Path) -> Outcome {
    for name in document::pictures(results) {
        draw(&dir.join(name), |area| match name {
            document::LATENCY => latency(area, results),
            document::CROWD => crowd(area, results),
            _ => memory(area, results),
        })?;
    }
    Ok(())
}

fn draw(path: &Path, content: impl FnOnce(&Area<'_>) -> Outcome) -> Outcome {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    content(&area)?;
    Ok(area.present()?)
}

/// How many of a hundred lives have their first result after how long.
fn latency(area: &Area<'_>, results: &Results) -> Outcome {
    let lines: Vec<Line> = named(results)
        .map(|(colour, way)| {
            let points = way.distribution_ns.iter().enumerate();
            Line { colour, points: points.map(|(i, ns)| (ms(*ns), i as f64 / 2.0)).collect() }
        })
        .collect();
    let x = range(lines.iter().flat_map(|line| line.points.iter().map(|p| p.0)));
    let ways: Vec<_> = named(results).collect();
    let (above, below) = with_key(area, ways.len());
    let mut chart = ChartBuilder::on(&above)
        .caption("Time to the first result of print(6*7)", (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(x.log_scale(), 0.0..100.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("ms (logarithmic)")
        .y_desc("% of lives that have it by then")
        .x_label_formatter(&|x| short(*x))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .label_style((FONT, 13))
        .draw()?;
    for line in lines {
        chart.draw_series(LineSeries::new(line.points, line.colour.stroke_width(2)))?;
    }
    key(&below, &ways)
}

/// What a life costs beside how many others: spawn, first result, teardown.
fn crowd(area: &Area<'_>, results: &Results) -> Outcome {
    let all = || results.ways.iter().flat_map(|way| &way.crowd);
    let x = range(all().map(|c| c.live as f64));
    let y = range(all().flat_map(|c| PHASES.iter().map(move |(_, of)| ms(of(c).p50_ns))));
    let ways: Vec<_> = named(results).filter(|(_, way)| !way.crowd.is_empty()).collect();
    let (above, below) = with_key(area, ways.len());
    let titled = above.titled("p50 of a life beside other live forks", (FONT, 20))?;
    for (panel, (name, of)) in titled.split_evenly((1, PHASES.len())).iter().zip(PHASES) {
        let mut chart = ChartBuilder::on(panel)
            .caption(name, (FONT, 16))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(50)
            .build_cartesian_2d(x.clone().log_scale(), y.clone().log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(4)
            .x_desc("forks alive (logarithmic)")
            .y_desc("ms (logarithmic)")
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .label_style((FONT, 12))
            .draw()?;
        for (colour, way) in &ways {
            let points: Vec<_> =
                way.crowd.iter().map(|c| (c.live as f64, ms(of(c).p50_ns))).collect();
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?;
        }
    }
    key(&below, &ways)
}

/// What a live fork weighs.
fn memory(area: &Area<'_>, results: &Results) -> Outcome {
    let bars: Vec<_> = named(results)
        .filter_map(|(colour, way)| Some((colour, way, way.many.as_ref()?)))
        .map(|(colour, way, many)| {
            let kernel = many.kernel_group_kib.unwrap_or(many.kernel_host_kib) as f64;
            (colour, way.name.clone(), many.private_kib as f64, kernel)
        })
        .collect();
    let top = bars.iter().map(|bar| bar.2 + bar.3).fold(1.0, f64::max) * 1.2;
    let mut chart = ChartBuilder::on(area)
        .caption("Memory of a live fork that has answered", (FONT, 20))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..bars.len() as f64, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .light_line_style(TRANSPARENT)
        .y_desc("KiB")
        .y_label_formatter(&|y| format!("{y:.0}"))
        .label_style((FONT, 13))
        .draw()?;
    for (i, (colour, name, private, kernel)) in bars.into_iter().enumerate() {
        let (left, right) = (i as f64 + 0.25, i as f64 + 0.75);
        let bar = |from: f64, to: f64, colour: RGBColor| {
            Rectangle::new([(left, from), (right, to)], colour.filled())
        };
        let text = |text: String, y: f64| Text::new(text, (left, y), (FONT, 13));
        chart.draw_series([bar(0.0, private, colour), bar(private, private + kernel, KERNEL)])?;
        chart.draw_series([
            text(name, private + kernel + top * 0.1),
            text(format!("{private:.0} KiB private"), private + kernel + top * 0.065),
            text(format!("{kernel:.0} KiB of the kernel (grey)"), private + kernel + top * 0.03),
        ])?;
    }
    Ok(())
}

struct Line {
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Each way with its colour, which is the same in all pictures.
fn named(results: &Results) -> impl Iterator<Item = (RGBColor, &WayResults)> {
    results.ways.iter().enumerate().map(|(i, way)| (COLOURS[i % COLOURS.len()], way))
}

/// Which colour is which way, in a strip below a picture.
fn key(area: &Area<'_>, ways: &[(RGBColor, &WayResults)]) -> Outcome {
    for (i, (colour, way)) in ways.iter().enumerate() {
        let (x, y) = (30 + (i as i32 % KEY_COLUMNS) * 290, (i as i32 / KEY_COLUMNS) * KEY_ROW);
        area.draw(&Rectangle::new([(x, y + 4), (x + 14, y + 14)], colour.filled()))?;
        area.draw(&Text::new(way.name.clone(), (x + 20, y + 4), (FONT, 13)))?;
    }
    Ok(())
}

/// A picture's area and the strip below it.
fn with_key<'a>(area: &Area<'a>, ways: usize) -> (Area<'a>, Area<'a>) {
    let rows = (ways as i32 + KEY_COLUMNS - 1) / KEY_COLUMNS;
    area.split_vertically(SIZE.1 as i32 - rows * KEY_ROW - 6)
}

/// From the smallest to the largest, with a little room; logarithms want it above zero.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
    (low.max(1e-4) / 1.3)..(high.max(1e-4) * 1.3)
}

/// As many digits as it takes.
fn short(value: f64) -> String {
    format!("{}", (value * 1e4).round() / 1e4)
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

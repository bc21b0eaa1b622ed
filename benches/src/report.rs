//! Output: a line of JSON per figure, tables for people, a plot.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use plotters::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub suite: &'static str,
    pub case: String,
    pub n: usize,
    pub subject: &'static str,
    /// Nanoseconds per operation: the median of the rounds.
    pub ns: Option<f64>,
    /// Half the distance between the quartiles, divided by the median.
    pub spread: Option<f64>,
    /// The 99.9th percentile of single operations, in nanoseconds, and the longest one.
    pub p999: Option<f64>,
    pub max: Option<f64>,
    /// Bytes per region.
    pub bytes: Option<f64>,
    pub note: String,
}

impl Line {
    pub fn new(suite: &'static str, case: &str, n: usize, subject: &'static str) -> Self {
        let case = case.to_owned();
        Self {
            suite,
            case,
            n,
            subject,
            ns: None,
            spread: None,
            p999: None,
            max: None,
            bytes: None,
            note: String::new(),
        }
    }
}

fn round(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Formats a table per case: subjects down, sizes across.
pub fn tables(lines: &[Line]) -> String {
    let mut out = String::new();
    let mut cases: Vec<&str> = Vec::new();
    lines.iter().for_each(|line| {
        if !cases.contains(&&line.case[..]) {
            cases.push(&line.case);
        }
    });
    for case in cases {
        let here: Vec<&Line> = lines.iter().filter(|line| line.case == case).collect();
        let sizes: BTreeSet<usize> = here.iter().map(|line| line.n).collect();
        let mut rows: Vec<&str> = Vec::new();
        here.iter().for_each(|line| {
            if !rows.contains(&line.subject) {
                rows.push(line.subject);
            }
        });
        let mut table = Table::new();
        table.load_style(NOTHING);
        let head = sizes.iter().map(|n| format!("{n}"));
        table.set_header([case.to_owned()].into_iter().chain(head).collect::<Vec<_>>());
        for subject in rows {
            let cell = |n: &usize| {
                let line = here.iter().find(|line| line.n == *n && line.subject == subject);
                line.map_or(String::from("-"), |line| {
                    let value = line
                        .ns
                        .map(|ns| format!("{} ±{:.0}%", round(ns), line.spread.unwrap_or(0.0) * 100.0));
                    let bytes = line.bytes.map(|bytes| format!("{} B", round(bytes)));
                    let tail = line.p999.map(|p| format!(" p99.9 {}", round(p)));
                    let mark = if line.note.contains("not steady") { "†" } else { "" };
                    value.or(bytes).unwrap_or_else(|| String::from("-")) + &tail.unwrap_or_default() + mark
                })
            };
            table.add_row([subject.to_owned()].into_iter().chain(sizes.iter().map(cell)).collect::<Vec<_>>());
        }
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        out += &format!("{table}\n\n");
    }
    out
}

/// Plots nanoseconds against n, both logarithmic, with a line per subject.
pub fn plot(path: &Path, title: &str, lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let mut series: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for line in lines {
        if let Some(ns) = line.ns {
            series.entry(line.subject).or_default().push((line.n as f64, ns));
        }
    }
    let points = || series.values().flatten();
    let bound =
        |pick: fn(f64, f64) -> f64, of: fn(&(f64, f64)) -> f64| points().map(of).reduce(pick).unwrap_or(1.0);
    let (left, right) = (bound(f64::min, |p| p.0), bound(f64::max, |p| p.0 * 1.01));
    let (low, high) = (bound(f64::min, |p| p.1) / 1.5, bound(f64::max, |p| p.1) * 1.5);
    let area = SVGBackend::new(path, (900, 600)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d((left..right).log_scale(), (low..high).log_scale())?;
    chart.configure_mesh().x_desc("regions").y_desc("ns").draw()?;
    for (i, (subject, points)) in series.into_iter().enumerate() {
        let color = Palette99::pick(i).to_rgba();
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(subject)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}

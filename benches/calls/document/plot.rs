//! The plot of the calls.

use std::fmt::Write as _;

use crate::results::{Results, Row};

const LEFT: f64 = 250.0;
const WIDTH: f64 = 480.0;
const ROW: f64 = 28.0;

/// Bars of the medians, with a mark at each minimum. Ours have another colour.
pub(super) fn svg(results: &Results) -> String {
    let medians = results.calls.iter().map(|row| row.median_ms);
    let longest = medians.fold(0.0, f64::max);
    let scale = |time: f64| time / longest * WIDTH;
    let height = ROW * results.calls.len() as f64 + 40.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>Medians of the calls, in milliseconds; the line is the minimum</title>\n\
         <rect width=\"800\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (index, row) in results.calls.iter().enumerate() {
        let Row {
            call,
            minimum_ms,
            median_ms,
            ..
        } = row;
        let top = ROW * index as f64 + 10.0;
        let (text, mark) = (top + 16.0, LEFT + scale(*minimum_ms));
        let colour = if row.is_ours { "#2b6cb0" } else { "#9aa5b1" };
        writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{text:.0}\" text-anchor=\"end\">{call}</text>\n\
             <rect x=\"{LEFT}\" y=\"{top:.0}\" width=\"{:.1}\" height=\"20\" fill=\"{colour}\"/>\n\
             <line x1=\"{mark:.1}\" x2=\"{mark:.1}\" y1=\"{top:.0}\" y2=\"{:.0}\" stroke=\"#000\"/>\n\
             <text x=\"{:.1}\" y=\"{text:.0}\">{median_ms:.2}</text>",
            LEFT - 8.0,
            scale(*median_ms),
            top + 20.0,
            LEFT + scale(*median_ms) + 6.0
        )
        .unwrap();
    }
    let foot = height - 8.0;
    writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{foot:.0}\" fill=\"#555\">milliseconds; bar: median, line: minimum; blue: ours</text>\n</svg>"
    )
    .unwrap();
    svg
}

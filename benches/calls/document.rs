//! Writes what was measured into `docs/performance.md`, and the plot beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::times::{Time, Times};
use crate::{Options, count, node, times};

const DOCUMENT: &str = "docs/performance.md";
const PLOT: &str = "docs/performance.svg";

/// What stands between these lines is written.
const BEGIN: &str = "<!-- begin: benches/run.sh writes this -->\n";
const END: &str = "<!-- end -->\n";

/// Measures, counts and writes.
pub(crate) fn write(options: &Options) {
    let times = times::measure(options);
    times.print();
    let costs = count::costs();
    let mut table = format!(
        "{}. {} rounds; milliseconds.\n\n\
         | call | minimum | of the null wrapper | median | of the null wrapper | system calls | instructions |\n\
         |---|---|---|---|---|---|---|\n",
        machine(),
        times.rounds
    );
    for time in &times.calls {
        let cost = costs.get(time.call);
        let calls = cost.map_or(String::new(), |cost| cost.system_calls.to_string());
        let instructions = cost.and_then(|cost| cost.instructions);
        let instructions = instructions.map_or(String::new(), |n| n.to_string());
        writeln!(
            table,
            "| {} | {:.3} | {:.2} | {:.3} | {:.2} | {calls} | {instructions} |",
            time.call, time.minimum, time.minimum_ratio, time.median, time.median_ratio
        )
        .unwrap();
    }
    let path = node::in_checkout(Path::new(DOCUMENT));
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    fs::write(node::in_checkout(Path::new(PLOT)), plot(&times)).unwrap();
}

/// The processor and the kernel.
fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, Linux {}",
        model.unwrap_or("unknown processor"),
        release.trim()
    )
}

/// Bars of the medians, with a mark at each minimum.
fn plot(times: &Times) -> String {
    const LEFT: f64 = 250.0;
    const WIDTH: f64 = 480.0;
    const ROW: f64 = 28.0;
    let longest = times
        .calls
        .iter()
        .map(|time| time.median)
        .fold(0.0, f64::max);
    let scale = |time: f64| time / longest * WIDTH;
    let height = ROW * times.calls.len() as f64 + 40.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>Medians of whole processes, in milliseconds; the line is the minimum</title>\n\
         <rect width=\"800\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (
        index,
        Time {
            call,
            minimum,
            median,
            ..
        },
    ) in times.calls.iter().enumerate()
    {
        let top = ROW * index as f64 + 10.0;
        let (text, mark) = (top + 16.0, LEFT + scale(*minimum));
        let colour = if index < 2 { "#9aa5b1" } else { "#2b6cb0" };
        writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{text:.0}\" text-anchor=\"end\">{call}</text>\n\
             <rect x=\"{LEFT}\" y=\"{top:.0}\" width=\"{:.1}\" height=\"20\" fill=\"{colour}\"/>\n\
             <line x1=\"{mark:.1}\" x2=\"{mark:.1}\" y1=\"{top:.0}\" y2=\"{:.0}\" stroke=\"#000\"/>\n\
             <text x=\"{:.1}\" y=\"{text:.0}\">{median:.2}</text>",
            LEFT - 8.0,
            scale(*median),
            top + 20.0,
            LEFT + scale(*median) + 6.0
        )
        .unwrap();
    }
    let foot = height - 8.0;
    writeln!(svg, "<text x=\"{LEFT}\" y=\"{foot:.0}\" fill=\"#555\">milliseconds; bar: median, line: minimum</text>\n</svg>").unwrap();
    svg
}

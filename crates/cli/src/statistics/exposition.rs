//! The text format of Prometheus, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>), as node_exporter's textfile
//! collector reads it: each family once, with HELP and TYPE, and no times.

use std::collections::BTreeSet;
use std::fmt::Write;

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FamilyKind {
    /// It only rises, until the node or the counter starts again. Its name ends in `_total`.
    Counter,
    /// It is as it is now.
    Gauge,
}

/// Families of metrics as text.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
}

/// A family that is being written.
#[derive(Debug)]
pub(crate) struct MetricFamily<'e> {
    text: &'e mut String,
    name: &'static str,
    /// The labels that were written: a series must not be there twice.
    seen: BTreeSet<String>,
}

impl Exposition {
    /// Begins a family.
    pub(crate) fn family(
        &mut self,
        kind: FamilyKind,
        name: &'static str,
        help: &str,
    ) -> MetricFamily<'_> {
        let kind = match kind {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
        };
        let help = escaped(help, false);
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        MetricFamily {
            text: &mut self.text,
            name,
            seen: BTreeSet::new(),
        }
    }

    /// All of it.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

impl MetricFamily<'_> {
    /// Adds a series. One with the same labels as another is left out.
    pub(crate) fn series(&mut self, labels: &[(&str, &str)], value: u64) {
        let pairs = labels.iter();
        let pairs: Vec<String> = pairs
            .map(|(key, value)| format!("{key}=\"{}\"", escaped(value, true)))
            .collect();
        let labels = match pairs.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", pairs.join(",")),
        };
        if self.seen.insert(labels.clone()) {
            let _ = writeln!(self.text, "{}{labels} {value}", self.name);
        }
    }
}

/// Text with a backslash before what would end it.
fn escaped(text: &str, in_quotes: bool) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '"' if in_quotes => line.push_str("\\\""),
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_as_prometheus_reads_it() {
        let mut made = Exposition::default();
        let mut family = made.family(FamilyKind::Counter, "a_total", "All \"a\",\nsince\\boot.");
        family.series(&[], 0);
        made.family(FamilyKind::Gauge, "b", "B.");
        let mut family = made.family(FamilyKind::Gauge, "c", "C.");
        family.series(&[("x", "1\\2\"3\n} 4"), ("y", "")], u64::MAX);
        family.series(&[("x", "1"), ("y", "é")], 5);
        family.series(&[("x", "1"), ("y", "é")], 6);
        assert_eq!(
            made.into_text(),
            "# HELP a_total All \"a\",\\nsince\\\\boot.\n# TYPE a_total counter\na_total 0\n\
             # HELP b B.\n# TYPE b gauge\n\
             # HELP c C.\n# TYPE c gauge\nc{x=\"1\\\\2\\\"3\\n} 4\",y=\"\"} 18446744073709551615\n\
             c{x=\"1\",y=\"é\"} 5\n"
        );
    }
}

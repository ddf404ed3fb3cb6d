//! The tables of what was measured on a real kernel: `benches/results/kernel.json`.

use std::fmt::Write as _;

use serde_json::Value;

/// One table for each part that was measured.
pub(super) fn tables(results: &Value) -> String {
    let linux = results["linux"].as_str().unwrap_or_default();
    let mut text = format!("Linux {linux}. Milliseconds are \"minimum / median\".\n");
    let parts: [(&str, Part); 6] = [
        ("containers", containers),
        ("start", start),
        ("run", run),
        ("load", load),
        ("ensure", ensure),
        ("herd", herd),
    ];
    for (name, table) in parts {
        let Some(part) = results.get(name) else {
            continue;
        };
        let table = table(part);
        let rounds = &part["rounds"];
        write!(text, "\n{}, {rounds} rounds:\n\n", table.title).unwrap();
        let columns = table.columns.len();
        let head = |cells: &[&str]| format!("| {} |\n", cells.join(" | "));
        text += &head(&table.columns);
        writeln!(text, "|---|{}", "--:|".repeat(columns - 1)).unwrap();
        for row in &table.rows {
            writeln!(text, "| {} |", row.join(" | ")).unwrap();
        }
    }
    if let Some(ratio) = results["herd"]["ratio"].as_f64() {
        write!(
            text,
            "\n100 creates of a missing profile take {ratio:.2} times as long as 100 of a loaded one and \
             one compilation (medians).\n"
        )
        .unwrap();
    }
    text
}

/// Makes the table of a part.
type Part = fn(&Value) -> Table;

struct Table {
    title: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

fn rows(part: &Value, name: &str, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    let rows = part[name].as_array().unwrap();
    rows.iter().map(row).collect()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn number(value: &Value) -> String {
    format!("{:.2}", value.as_f64().unwrap())
}

/// Minimum and median.
fn both(times: &Value) -> String {
    let of = |name: &str| times[name].as_f64().unwrap();
    format!("{:.1} / {:.1}", of("minimum_ms"), of("median_ms"))
}

fn ratios(row: &Value) -> String {
    let of = |name: &str| number(&row[name]);
    format!("{} / {}", of("minimum_ratio"), of("median_ratio"))
}

fn containers(part: &Value) -> Table {
    let mut rows = rows(part, "sequences", |row| {
        let added = &row["added_in_null_calls"];
        vec![
            format!("{}: {}", word(&row["runtime"]), word(&row["sequence"])),
            both(&row["alone"]),
            both(&row["null_wrapper"]),
            both(&row["ours"]),
            ratios(row),
            format!(
                "{} / {}",
                number(&added["minimum"]),
                number(&added["median"])
            ),
        ]
    });
    let null = both(&part["null_call"]);
    let empty = String::new;
    rows.push(vec![
        "one call of the null wrapper".to_owned(),
        empty(),
        null,
        empty(),
        empty(),
        "1".to_owned(),
    ]);
    Table {
        title: "Whole containers",
        columns: vec![
            "what",
            "runtime alone",
            "null wrapper",
            "ours",
            "ours / alone",
            "added, in calls of the null wrapper",
        ],
        rows,
    }
}

fn start(part: &Value) -> Table {
    let own = "later_of_label_and_runtime_to_end";
    Table {
        title: "From the label of the container's process to the end of `start`",
        columns: vec![
            "runtime",
            "from the label",
            "from the later of the label and the runtime's end",
        ],
        rows: rows(part, "rows", |row| {
            vec![
                format!("{}, {}", word(&row["runtime"]), word(&row["way"])),
                both(&row["label_to_end"]),
                row.get(own).map_or(String::new(), both),
            ]
        }),
    }
}

fn run(part: &Value) -> Table {
    Table {
        title: "From the label of the container's process to the look of the watcher of `run`",
        columns: vec!["runtime", "milliseconds"],
        rows: rows(part, "rows", |row| {
            vec![word(&row["runtime"]), both(&row["label_to_look"])]
        }),
    }
}

fn load(part: &Value) -> Table {
    Table {
        title: "Loading a missing profile, with caches that have it",
        columns: vec!["what", "milliseconds", "the parser takes, times as long"],
        rows: rows(part, "rows", |row| {
            let of = |name: &str| number(&row[name]);
            vec![
                word(&row["what"]),
                both(&row["times"]),
                format!(
                    "{} / {}",
                    of("parser_minimum_ratio"),
                    of("parser_median_ratio")
                ),
            ]
        }),
    }
}

fn ensure(part: &Value) -> Table {
    Table {
        title: "A loaded profile among others",
        columns: vec![
            "profiles",
            "create",
            "state",
            "`true`",
            "create - state, to that with 10",
        ],
        rows: rows(part, "rows", |row| {
            vec![
                row["profiles"].to_string(),
                both(&row["create"]),
                both(&row["state"]),
                both(&row["true"]),
                ratios(row),
            ]
        }),
    }
}

fn herd(part: &Value) -> Table {
    Table {
        title: "Containers created at once",
        columns: vec![
            "creates",
            "last one done",
            "compilations, at most",
            "loads, at most",
        ],
        rows: rows(part, "rows", |row| {
            let whole = |name: &str| format!("{:.0}", row[name].as_f64().unwrap());
            vec![
                format!("{}, profile {}", row["creates"], word(&row["profile"])),
                both(&row["last_done"]),
                whole("most_compilations"),
                whole("most_loads"),
            ]
        }),
    }
}

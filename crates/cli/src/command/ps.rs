//! `ps`: what an auditor asks. Which label must each container have, and which one does each of
//! its processes have at this moment?

use std::fmt::Write;

use serde_json::{Value, json};

use crate::print;
use oci_apparmor::apparmor::name::Label;
use oci_apparmor::containers::labels::{self, LabelledProcess};
use oci_apparmor::containers::record::Record;
use oci_apparmor::containers::records;
use oci_apparmor::containers::status::ContainerStatus;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::node::Node;
use oci_apparmor::settings::Settings;

/// One container that was made through us.
struct Row {
    record: Record,
    state: ContainerStatus,
    processes: Vec<LabelledProcess>,
}

impl Row {
    fn of(record: Record, node: &Node) -> Result<Self> {
        let state = ContainerStatus::of(&record);
        let pid = match state {
            ContainerStatus::Running(pid) => Some(pid),
            _ => None,
        };
        let processes = match pid {
            Some(pid) => labels::of_container(pid, &record, node)?,
            None => Vec::new(),
        };
        Ok(Self {
            record,
            state,
            processes,
        })
    }

    fn escaped(&self) -> usize {
        self.processes.iter().filter(|p| !p.confined).count()
    }

    fn label(&self) -> String {
        self.record
            .label
            .as_ref()
            .map_or("-".to_owned(), Label::to_string)
    }

    fn to_json(&self) -> Value {
        let process = |p: &LabelledProcess| json!({ "pid": p.pid, "comm": p.comm, "label": p.label, "holds": p.confined });
        json!({
            "id": self.record.id,
            "runtime": self.record.runtime,
            "root": self.record.root,
            "state": self.state.as_str(),
            "label": self.record.label.as_ref().map(Label::to_string),
            "key": self.record.key,
            "namespace": self.record.namespace,
            "pod": self.record.pod,
            "container": self.record.container,
            "processes": self.processes.iter().map(process).collect::<Vec<_>>(),
        })
    }
}

pub(crate) fn run(as_json: bool) -> Result<u8> {
    let node = Node::with(Settings::load().unwrap_or_default());
    let rows = records::all()?
        .into_iter()
        .map(|record| Row::of(record, &node));
    let rows = rows.collect::<Result<Vec<Row>>>()?;
    let text = match as_json {
        true => format!("{:#}\n", Value::from_iter(rows.iter().map(Row::to_json))),
        false => table(&rows),
    };
    print(&text)?;
    let escaped: usize = rows.iter().map(Row::escaped).sum();
    if escaped == 0 {
        // Where nothing is enforced the labels look the same.
        let mut running = rows.iter().filter(|row| !row.processes.is_empty());
        return running
            .try_for_each(|row| labels::check_enforcement(&row.record, &node.kernel))
            .map(|()| 0);
    }
    Err(Error::new(
        Kind::Policy,
        format!("{escaped} process(es) run without the label of their container"),
    )
    .with_remedy("restart these containers"))
}

fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:<14}{:<9}{:<9}{:<32}PROCESSES",
        "CONTAINER", "RUNTIME", "STATE", "LABEL"
    );
    for row in rows {
        let id: String = row.record.id.chars().take(12).collect();
        let held = row.processes.len().saturating_sub(row.escaped());
        let processes = match row.state {
            ContainerStatus::Running(_) => format!("{held}/{} hold it", row.processes.len()),
            _ => String::new(),
        };
        let line = format!(
            "{id:<13} {:<8} {:<8} {:<31} {processes}",
            row.record.runtime,
            row.state.as_str(),
            row.label()
        );
        let _ = writeln!(text, "{}", line.trim_end());
        for p in row.processes.iter().filter(|p| !p.confined) {
            let _ = writeln!(
                text,
                "  !! process {} ({}) runs as {}",
                p.pid, p.comm, p.label
            );
        }
    }
    text
}

//! `ps`: the label that each container must have, and the labels that its processes have.

use clap::Args;
use serde::Serialize;

use crate::report::output::Output;
use crate::report::table::{Cell, Fit, Row, Table, Tone};
use oci_apparmor::apparmor::name::Label;
use oci_apparmor::containers::labels::{self, LabelledProcess};
use oci_apparmor::containers::record::Record;
use oci_apparmor::containers::records;
use oci_apparmor::containers::status::ContainerStatus;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::node::Node;
use oci_apparmor::settings::Settings;

/// List containers, their labels, and whether each process has its container's label
///
/// Lists the containers that were made through the wrapper. Stacks are compared as sets, and a
/// child of a profile counts as that profile. A container in the state created waits for its start;
/// no process of it runs yet.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 every process has the label of its container; 5 a process runs without it; 6 the \
kernel enforces no profile, because its global mode was changed: the labels look the same then.

Examples:
  oci-apparmor ps
  # The processes that run without the label of their container.
  oci-apparmor ps --json | jq '.[].processes[] | select(.confined | not)'")]
pub(crate) struct PsArguments {
    /// Print a JSON list, with every process
    #[arg(long)]
    json: bool,
}

/// A container that was made through the wrapper.
#[derive(Debug)]
struct Container {
    record: Record,
    state: ContainerStatus,
    processes: Vec<LabelledProcess>,
}

/// What `--json` prints of a container.
#[derive(Debug, Serialize)]
struct ContainerJson<'c> {
    id: &'c str,
    runtime: &'c str,
    root: &'c std::path::Path,
    state: &'static str,
    label: Option<String>,
    key: Option<&'c str>,
    namespace: Option<&'c str>,
    pod: Option<&'c str>,
    container: Option<&'c str>,
    processes: Vec<ShownProcess<'c>>,
}

#[derive(Debug, Serialize)]
struct ShownProcess<'c> {
    pid: u32,
    comm: &'c str,
    label: &'c str,
    confined: bool,
}

impl<'c> ShownProcess<'c> {
    fn of(process: &'c LabelledProcess) -> Self {
        Self {
            pid: process.pid,
            comm: &process.comm,
            label: &process.label,
            confined: process.confined,
        }
    }
}

impl Container {
    fn of(record: Record, node: &Node) -> Result<Self> {
        let state = ContainerStatus::of(&record);
        let processes = match state {
            ContainerStatus::Running(pid) => labels::of_container(pid, &record, node)?,
            _ => Vec::new(),
        };
        Ok(Self {
            record,
            state,
            processes,
        })
    }

    fn unconfined(&self) -> impl Iterator<Item = &LabelledProcess> {
        self.processes.iter().filter(|process| !process.confined)
    }

    fn shown(&self) -> ContainerJson<'_> {
        ContainerJson {
            id: &self.record.id,
            runtime: &self.record.runtime,
            root: &self.record.root,
            state: self.state.as_str(),
            label: self.record.label.as_ref().map(Label::to_string),
            key: self.record.key.as_deref(),
            namespace: self.record.namespace.as_deref(),
            pod: self.record.pod.as_deref(),
            container: self.record.container.as_deref(),
            processes: self.processes.iter().map(ShownProcess::of).collect(),
        }
    }

    fn row(&self, output: Output) -> Row {
        let unconfined = self.unconfined().count();
        let all = self.processes.len();
        let confined = match self.state {
            ContainerStatus::Running(_) => Cell::new(
                format!("{}/{all}", all.saturating_sub(unconfined)),
                match unconfined {
                    0 => Tone::Good,
                    _ => Tone::Bad,
                },
            ),
            _ => Cell::from("-"),
        };
        let mut row = Row::new([
            Cell::from(output.id(&self.record.id)),
            Cell::from(&self.record.runtime),
            Cell::from(self.state.as_str()),
            confined,
            Cell::or_dash(self.record.label.as_ref().map(Label::to_string)),
        ]);
        for process in self.unconfined() {
            let LabelledProcess {
                pid, comm, label, ..
            } = process;
            row.warning(format!("process {pid} ({comm}) runs as {label}"));
        }
        row
    }
}

pub(crate) fn run(arguments: &PsArguments, output: Output) -> Result<u8> {
    let node = Node::with(Settings::load().unwrap_or_default());
    let containers = records::all()?.into_iter();
    let containers = containers
        .map(|record| Container::of(record, &node))
        .collect::<Result<Vec<_>>>()?;
    match arguments.json {
        true => output.json(&Vec::from_iter(containers.iter().map(Container::shown)))?,
        false => output.table(&table(&containers, output))?,
    }
    let concerned = containers
        .iter()
        .filter(|c| c.unconfined().next().is_some());
    let concerned: Vec<&str> = concerned.map(|c| c.record.id.as_str()).collect();
    if concerned.is_empty() {
        // Where nothing is enforced the labels look the same.
        let mut running = containers.iter().filter(|c| !c.processes.is_empty());
        return running
            .try_for_each(|c| labels::check_enforcement(&c.record, &node.kernel))
            .map(|()| 0);
    }
    let processes: usize = containers.iter().map(|c| c.unconfined().count()).sum();
    let why = match processes {
        1 => "1 process runs without the label of its container".to_owned(),
        n => format!("{n} processes run without the label of their container"),
    };
    Err(Error::new(Kind::Policy, why)
        .with_remedy(format!("restart the containers: {}", concerned.join(" "))))
}

fn table(containers: &[Container], output: Output) -> Table {
    let mut table = Table::new(&[
        ("CONTAINER", Fit::Cut),
        ("RUNTIME", Fit::Whole),
        ("STATE", Fit::Whole),
        ("CONFINED", Fit::Whole),
        ("LABEL", Fit::Wrap),
    ]);
    for container in containers {
        table.push(container.row(output));
    }
    table
}

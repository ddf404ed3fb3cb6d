//! `ps`: the label that each container must have, and the labels that its processes have.

use clap::Args;

use crate::report::output::Output;
use crate::report::table::{Cell, Fit, Row, Table, Tone};
use crate::statistics::containers::ManagedContainer;
use oci_apparmor::apparmor::name::Label;
use oci_apparmor::containers::labels::{self, LabelledProcess};
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

pub(crate) fn run(arguments: &PsArguments, output: Output) -> Result<u8> {
    let node = Node::with(Settings::load().unwrap_or_default());
    let containers = ManagedContainer::all(&node)?;
    match arguments.json {
        true => output.json(&Vec::from_iter(
            containers.iter().map(ManagedContainer::shown),
        ))?,
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

fn table(containers: &[ManagedContainer], output: Output) -> Table {
    let mut table = Table::new(&[
        ("CONTAINER", Fit::Cut),
        ("RUNTIME", Fit::Whole),
        ("STATE", Fit::Whole),
        ("CONFINED", Fit::Whole),
        ("LABEL", Fit::Wrap),
    ]);
    for container in containers {
        table.push(row(container, output));
    }
    table
}

fn row(container: &ManagedContainer, output: Output) -> Row {
    let unconfined = container.unconfined().count();
    let all = container.processes.len();
    let confined = match container.state {
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
        Cell::from(output.id(&container.record.id)),
        Cell::from(&container.record.runtime),
        Cell::from(container.state.as_str()),
        confined,
        Cell::or_dash(container.record.label.as_ref().map(Label::to_string)),
    ]);
    for process in container.unconfined() {
        let LabelledProcess {
            pid, comm, label, ..
        } = process;
        row.warning(format!("process {pid} ({comm}) runs as {label}"));
    }
    row
}

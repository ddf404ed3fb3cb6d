//! The parts of the help that belong to no single command, and the groups of commands.

use std::fmt::Write;

use anstyle::{Effects, Style};
use clap::Command;
use clap::builder::StyledStr;

/// The commands by what a person wants to do.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "Look",
        &[
            "status", "ps", "check", "explain", "denials", "report", "metrics",
        ],
    ),
    (
        "Profiles",
        &["load", "unload", "mode", "gc", "lint", "render"],
    ),
    ("Learn", &["why", "new", "suggest", "learn"]),
    ("Engines", &["configure", "unconfigure"]),
    ("Cluster", &["sync", "node"]),
];

/// Below the short help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done, 2 usage, 3 not found, 4 does not compile, 5 refused by policy, \
6 AppArmor is off, 7 configuration, 8 internal.
Run oci-apparmor COMMAND --help for a command's options and examples.";

/// Below the long help, and in the manual page.
pub(crate) const LONG: &str = "\
Exit codes:
  0  Done. For explain: the container would start.
  2  Usage: the command line is wrong.
  3  The profile is neither loaded nor found, or a low-level runtime or the wrapper is missing.
  4  The profile does not compile.
  5  Refused by the node's policy, or by a rule that no setting lifts.
  6  AppArmor is off in this kernel, or its global mode does not enforce.
  7  The configuration of this node or of an engine is unreadable, untrusted or malformed.
  8  Internal: the bundle or the system is in an unexpected state.

Files:
  /etc/oci-apparmor/config.toml
      What this node demands and allows; see oci-apparmor.toml(5).
  /etc/oci-apparmor/profiles/
      Profiles, one per file, named as the profile with each / as a dot.
      Searched before /etc/apparmor.d and /etc/apparmor.d/containers.
  /etc/oci-apparmor/engines/
      What configure changed, so that unconfigure can restore it.
  /run/oci-apparmor/containers/
      The records of containers.
  /etc/apparmor.d/force-complain/
      Links named as the sources whose profiles are to complain.
  oci-apparmor-preload.service
      Runs oci-apparmor load --all --watch from boot on, if enabled.
  /var/lib/oci-apparmor/cluster-profiles/
      The sources of profiles that come from a cluster; sync writes them.
  oci-apparmor-sync.path
      Runs oci-apparmor sync whenever the spool changes, if enabled.
  oci-apparmor-node-status.timer
      Runs oci-apparmor node status --write once a minute, if enabled.
  oci-apparmor-gc.timer
      Runs oci-apparmor gc once a day, if enabled.
  oci-apparmor-metrics.timer
      Runs oci-apparmor metrics once a minute, if enabled.

Examples:
  # Is this node ready?
  oci-apparmor check
  # Does this profile have problems?
  oci-apparmor lint /etc/oci-apparmor/profiles/web
  # Let every pod of this node use the wrapper.
  oci-apparmor configure containerd --set-default
  systemctl restart containerd

See also:
  oci-apparmor-runtime(8), oci-apparmor-hook(8), oci-apparmor.toml(5),
  apparmor(7), apparmor_parser(8)";

/// Shows the commands in groups; clap itself knows only one list.
pub(crate) fn grouped(command: Command) -> Command {
    let heading = Style::new() | Effects::BOLD | Effects::UNDERLINE;
    let literal = Style::new() | Effects::BOLD;
    let mut text = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    let names = GROUPS.iter().flat_map(|(_, names)| names.iter());
    let width = names.map(|name| name.len()).max().unwrap_or(0);
    for (title, names) in GROUPS {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{heading}{title}:{heading:#}");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(StyledStr::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {literal}{name:<width$}{literal:#}  {about}");
        }
    }
    let _ = write!(
        text,
        "\n{heading}Options:{heading:#}\n{{options}}{{after-help}}"
    );
    command.help_template(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_command_is_in_one_group_and_has_an_example() {
        let definition = crate::definition();
        let shown = || definition.get_subcommands().filter(|c| !c.is_hide_set());
        let names: Vec<&str> = GROUPS.iter().flat_map(|(_, n)| n.iter().copied()).collect();
        let all: BTreeSet<&str> = shown().map(Command::get_name).collect();
        assert_eq!(BTreeSet::from_iter(names.iter().copied()), all);
        assert_eq!(names.len(), all.len());
        for command in shown() {
            let name = command.get_name();
            let after = command.get_after_help().map(StyledStr::to_string);
            let example = format!("\n  oci-apparmor {name} ");
            let alone = format!("\n  oci-apparmor {name}\n");
            let after = format!("{}\n", after.unwrap_or_default());
            assert!(
                after.contains("Examples:\n")
                    && (after.contains(&example) || after.contains(&alone)),
                "{name}: {after}"
            );
        }
    }
}

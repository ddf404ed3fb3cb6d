//! The text of a starting profile.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::learning::starting_profile::mounts;
use crate::learning::starting_profile::observed::{Observed, normal};
use crate::learning::starting_profile::pattern::literal;
use crate::learning::starting_profile::section::Section;
use crate::learning::starting_profile::spec::ContainerSpec;
use crate::learning::starting_profile::workload::{Needs, Workload};
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor_audit::rule::PolicyRule;
use oci_apparmor_audit::rule::keyword::Keyword;
use oci_apparmor_audit::suggestion::Danger;
use oci_apparmor_audit::text::OutsideText;

/// What a starting profile is made from.
#[derive(Debug)]
pub(crate) struct StartingProfile<'a> {
    name: &'a ProfileName,
    spec: Option<&'a ContainerSpec>,
    observed: &'a Observed,
    workload: Option<Workload>,
}

/// For signals: the runtimes and engines that stop a container. AppArmor 4 gives them profiles.
const SENDERS: &str = "{unconfined,runc,crun,youki,podman,conmon}";

/// What programs of every container do, under every runtime.
const EVERY: [&str; 14] = [
    "/ r",
    "/dev/ r",
    "/dev/{ptmx,tty} rw",
    "/etc/ r",
    "/etc/{group,host.conf,hostname,hosts,nsswitch.conf,passwd,resolv.conf} r",
    "/etc/{debian_version,gai.conf,os-release,protocols,services} r",
    "/sys/ r",
    "@{PROC}/ r",
    "@{PROC}/{loadavg,uptime,version} r",
    "@{PROC}/sys/kernel/{hostname,osrelease,ostype,pid_max,random/boot_id,random/uuid} r",
    "@{PROC}/sys/net/core/somaxconn r",
    "owner @{PROC}/@{pid}/{,fd/,fdinfo/,ns/,task/} r",
    "owner @{PROC}/@{pid}/attr/{,apparmor/}current r",
    "owner @{PROC}/@{pid}/{cgroup,cmdline,comm,limits,mountinfo,mounts,smaps,stat,statm} r",
];

/// What a container with a network of its own may open.
const NETWORK: [&str; 4] = ["inet stream", "inet dgram", "inet6 stream", "inet6 dgram"];

impl<'a> StartingProfile<'a> {
    /// The profile `name` of a container, of a kind of program, of both, or of neither.
    ///
    /// # Errors
    /// [`Kind::Policy`] if such a name cannot be declared: it is a pattern, attaches to a program, or
    /// is that of a child.
    pub(crate) fn new(
        name: &'a ProfileName,
        spec: Option<&'a ContainerSpec>,
        observed: &'a Observed,
        workload: Option<Workload>,
    ) -> Result<Self> {
        let text = name.as_str();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-/".contains(&b);
        if !text.bytes().all(plain) || text.starts_with('/') || text.contains("//") {
            return Err(Error::new(
                Kind::Policy,
                format!("a new profile cannot have the name {text}"),
            )
            .with_remedy(
                "use letters, digits, '.', '_', '+' and '-', and begin with a letter or a digit",
            ));
        }
        Ok(Self {
            name,
            spec,
            observed,
            workload,
        })
    }

    /// How many rules it has, besides those of its includes.
    pub(crate) fn count(&self) -> usize {
        self.sections().iter().map(Section::count).sum()
    }

    /// Its text.
    pub(crate) fn text(&self) -> String {
        let name = self.name;
        let mut text = format!(
            "# A profile to start from, made by: oci-apparmor new {name}\n\
             # It allows what is known of the container. What else its programs need is learnt:\n\
             #   oci-apparmor learn {name} -- COMMAND\n\
             \n\
             # AppArmor 3.0 and later have this version of the policy language.\n\
             abi <abi/3.0>,\n\
             \n\
             include <tunables/global>\n\
             \n\
             # attach_disconnected: a file that was opened outside the container still has a path.\n\
             # mediate_deleted: so has a file that was deleted.\n\
             profile {name} flags=(attach_disconnected,mediate_deleted) {{\n  \
             include <abstractions/base>\n"
        );
        for section in self.sections() {
            section.write(&mut text);
        }
        if let Some(spec) = self.spec {
            let notes = notes(spec);
            if !notes.is_empty() {
                text.push('\n');
            }
            for note in notes {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  # {note}");
            }
        }
        text.push_str("}\n");
        text
    }

    fn sections(&self) -> Vec<Section> {
        let mut sections = vec![self.peers(), every()];
        if let Some(spec) = self.spec {
            sections.extend([self.programs(spec), mounts::section(spec, self.observed)]);
            sections.push(mounts::devices(spec));
            sections.extend([terminal(spec), temporary(spec)]);
        }
        if let Some(needs) = self.needs() {
            let mut section = Section::new(format!("What {} usually needs.", needs.name));
            section.rules(needs.files.iter().copied());
            sections.push(section);
        }
        sections.extend([self.capabilities(), self.network()]);
        sections
    }

    fn needs(&self) -> Option<&'static Needs> {
        self.workload.map(Workload::needs)
    }

    /// Processes that this one deals with: those that stop it, and those of its container.
    fn peers(&self) -> Section {
        let name = self.name;
        let mut section =
            Section::new("Engines and runtimes stop the container; its processes know each other.");
        section.rule(format!("signal (receive) peer={SENDERS}"));
        // Where crun has a profile, it stacks it on that of a container without new privileges.
        for peer in [
            name.to_string(),
            format!("crun//&{name}"),
            format!("{name}//&crun"),
        ] {
            section.rule(format!("signal (send, receive) peer={peer}"));
            section.rule(format!(
                "ptrace (trace, read, tracedby, readby) peer={peer}"
            ));
        }
        section
    }

    fn programs(&self, spec: &ContainerSpec) -> Section {
        let mut section = Section::new("The program that the container is started with.");
        let seen = &self.observed.programs;
        if seen.is_empty() {
            // Without the image, each place where it may be.
            let candidates = spec.programs().into_iter().flatten();
            section.rules(candidates.map(|path| format!("{} mrix", literal(&normal(&path)))));
        } else {
            section.rules(seen.iter().map(|path| format!("{} mrix", literal(path))));
        }
        section
    }

    fn capabilities(&self) -> Section {
        let usable = self.spec.map(ContainerSpec::capabilities);
        let names: BTreeSet<String> = match (self.needs(), usable) {
            (Some(needs), None) => needs.capabilities.iter().map(|c| (*c).to_owned()).collect(),
            (Some(needs), Some(mut usable)) => {
                usable.retain(|name| needs.capabilities.contains(&name.as_str()));
                usable
            }
            (None, usable) => usable.unwrap_or_default(),
        };
        let mut section = Section::new("Capabilities of the container.");
        for name in &names {
            // A name that apparmor_parser does not know would not compile.
            let Some(word) = Keyword::capability(&OutsideText::new(name.as_bytes())) else {
                continue;
            };
            let rule = format!("capability {}", word.as_str());
            match Danger::of(&PolicyRule::Capability(word), self.name.as_str().as_bytes()) {
                None => section.rule(rule),
                Some(danger) => section.held_back(vec![rule], danger.reason()),
            }
        }
        section
    }

    fn network(&self) -> Section {
        let mut section = Section::new("Sockets.");
        match (self.needs(), self.spec) {
            (Some(needs), _) => {
                section.rules(needs.network.iter().map(|kind| format!("network {kind}")));
            }
            (None, Some(spec)) if spec.has_own_network() => {
                section.rules(NETWORK.map(|kind| format!("network {kind}")));
            }
            (None, Some(_)) => section.held_back(
                NETWORK.map(|kind| format!("network {kind}")).into(),
                "the container has the network of the node",
            ),
            (None, None) => {}
        }
        section
    }
}

fn every() -> Section {
    let mut section = Section::new("What every container needs.");
    section.rules(EVERY);
    section
}

fn terminal(spec: &ContainerSpec) -> Section {
    let mut section = Section::new("The terminal of the container.");
    if spec.process.as_ref().and_then(|p| p.terminal) == Some(true) {
        section.rules(["/dev/console rw", "/dev/pts/{,*} rw"]);
    }
    section
}

fn temporary(spec: &ContainerSpec) -> Section {
    let mut section = Section::new("Temporary files. Which other files are written, is learnt.");
    if !spec.has_read_only_root() {
        section.rule("owner /{,var/}tmp/{,**} rwk");
    }
    section
}

/// What a reader has to know of the container.
fn notes(spec: &ContainerSpec) -> Vec<String> {
    let mut notes = Vec::new();
    if spec.has_read_only_root() {
        notes.push("The root file system is read-only: only mounts can be written.".to_owned());
    }
    if !spec.is_root() {
        let uid = spec.uid();
        notes.push(format!("The container runs as user {uid}, not as root."));
    }
    if spec.has_no_new_privileges() {
        notes.push(
            "The container has no_new_privs: a program cannot get another profile (px, cx, ux)."
                .to_owned(),
        );
    }
    notes
}

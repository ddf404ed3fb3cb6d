//! `why`: whether a loaded profile allows an access, and which line of its source decides.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueHint};
use serde::Serialize;

use crate::log::recorded;
use crate::policy::bits;
use crate::policy::canaries::AllowedCanary;
use crate::policy::explanation::{
    AskedProfile, Explanation, ExplanationJson, allowed_dangers, explain,
};
use crate::policy::numbers;
use crate::policy::question::{MountCall, Question};
use crate::policy::trial::Trial;
use crate::report::output::Output;
use oci_apparmor::apparmor::name::Label;
use oci_apparmor::error::{Error, Kind, Result, quoted};
use oci_apparmor::fs::bounded;
use oci_apparmor::node::Node;
use oci_apparmor::settings::Settings;
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::text::OutsideText;

/// Tell whether a loaded profile allows an access, and why
///
/// Asks the kernel, which decides about the access exactly as it would for a process under the
/// profile. So the answer also covers explicit deny rules, which no log shows.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("subject").required(true).args(["container", "profile"]),
    group = ArgGroup::new("object").required(true).multiple(true).args([
        "path", "capability", "network", "signal", "ptrace", "mount", "umount", "change_profile",
        "userns", "event", "dangers",
    ]),
    after_help = "\
Exit codes: 0 all of it is allowed; 3 the profile is not loaded; 5 some of it is denied; 8 the \
kernel cannot tell.

Examples:
  oci-apparmor why --profile web --path /etc/shadow
  oci-apparmor why --profile web --path /var/log/web/ --path /run/web.sock --access rw
  # What would this text allow? It is not loaded under its name.
  oci-apparmor why --source web.new --profile web --path /etc/shadow --dangers
  oci-apparmor why --container 3f2a9c --capability net_bind_service
  oci-apparmor why --container 3f2a9c --network inet,stream --access 'create bind listen'
  oci-apparmor why --profile web --signal term --peer runc --access receive"
)]
pub(crate) struct WhyArguments {
    /// A container that was made through the wrapper: its id, the beginning of a long one, or its name
    #[arg(long, value_name = "ID|NAME")]
    container: Option<String>,
    /// A loaded profile, a child (web//child), or a stack (web//&base)
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Ask about the profile in this file, instead of the loaded one
    ///
    /// It is compiled and loaded under a throw-away name, which no process gets.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "profile")]
    source: Option<PathBuf>,
    /// A file, as a process under the profile sees it; that of a directory ends with /
    #[arg(long)]
    path: Vec<String>,
    /// With --path: the file that a hard link PATH is made to
    #[arg(long, value_name = "PATH", requires = "path")]
    link_to: Option<String>,
    /// A capability, for example sys_admin
    #[arg(long, value_name = "NAME")]
    capability: Vec<String>,
    /// A socket, for example inet,stream or inet,raw,icmp
    #[arg(long, value_name = "FAMILY,TYPE")]
    network: Vec<String>,
    /// A signal, for example term; needs --peer
    #[arg(long, value_name = "NAME", requires = "peer")]
    signal: Vec<String>,
    /// Tracing, or reading /proc of another process; needs --peer
    #[arg(long, requires = "peer")]
    ptrace: bool,
    /// A mount at this directory
    #[arg(long, value_name = "DIR")]
    mount: Option<String>,
    /// With --mount: what is mounted
    #[arg(long, value_name = "PATH", requires = "mount")]
    device: Option<String>,
    /// With --mount: the type of the file system
    #[arg(long, value_name = "TYPE", requires = "mount")]
    fstype: Option<String>,
    /// With --mount: its flags, for example ro,bind
    #[arg(long, value_name = "FLAGS", requires = "mount")]
    flags: Option<String>,
    /// An umount of this directory
    #[arg(long, value_name = "DIR")]
    umount: Option<String>,
    /// A change to this label
    #[arg(long, value_name = "LABEL")]
    change_profile: Vec<String>,
    /// A new user namespace
    #[arg(long)]
    userns: bool,
    /// The access of an event: a line of a log
    #[arg(long, value_name = "LINE")]
    event: Vec<String>,
    /// Accesses that help an intruder: which of them are allowed?
    #[arg(long)]
    dangers: bool,
    /// The label of the other process, for --signal and --ptrace
    #[arg(long, value_name = "LABEL")]
    peer: Option<String>,
    /// What is done
    ///
    /// For --path the letters of a rule, r if not given: r, w, a, m, k, l, x. For the others words:
    /// --network create, bind, listen, accept, connect, send, receive, getopt, setopt, getattr,
    /// setattr, shutdown (create if not given); --signal send, receive (send); --ptrace read, trace,
    /// readby, tracedby (trace).
    #[arg(long)]
    access: Option<String>,
    /// Do not look for the lines of the source that decide
    ///
    /// To find them, single rules are compiled and loaded under a throw-away name, which takes a
    /// second or two.
    #[arg(long)]
    no_lines: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct WhyJson<'w> {
    label: String,
    answers: Vec<ExplanationJson<'w>>,
    /// With `--dangers`.
    dangers: Option<Vec<AllowedCanary>>,
}

/// The largest file that `--source` reads, as for sources.
const MAX: u64 = 4 << 20;

pub(crate) fn run(arguments: &WhyArguments, output: Output) -> Result<u8> {
    // What is loaded does not depend on the configuration, so a broken one does not matter.
    let node = Node::with(Settings::load().unwrap_or_default());
    let label = arguments.label()?;
    let questions = arguments.questions()?;
    let trial = match &arguments.source {
        Some(file) => Some(trial(&node, file, &label)?),
        None => None,
    };
    let asked = |name| match &trial {
        Some(trial) => AskedProfile::tried(trial, name),
        None => AskedProfile::loaded(&node, name, !arguments.no_lines && !questions.is_empty()),
    };
    let profiles: Vec<AskedProfile<'_>> = label
        .components()
        .iter()
        .map(asked)
        .collect::<Result<_>>()?;
    let explanations = explain(&profiles, &questions);
    let dangers = arguments.dangers.then(|| allowed_dangers(&profiles));
    match arguments.json {
        true => output.json(&WhyJson {
            label: label.to_string(),
            answers: explanations.iter().map(Explanation::json).collect(),
            dangers,
        })?,
        false => {
            for explanation in &explanations {
                output.text(&explanation.text())?;
            }
            for AllowedCanary {
                access,
                danger,
                for_owner,
            } in dangers.iter().flatten()
            {
                let owner = if *for_owner { " to the owner" } else { "" };
                output.line(format!("{access}: allowed{owner}: {danger}"))?;
            }
            if dangers.is_some_and(|dangers| dangers.is_empty()) {
                output.line(format!(
                    "{label} allows no dangerous access that is known here"
                ))?;
            }
        }
    }
    let is = |word: &str| explanations.iter().any(|e| e.word() == word);
    Ok(match () {
        () if is("denied") => Kind::Policy.exit_code(),
        () if is("unknown") => Kind::Internal.exit_code(),
        () => 0,
    })
}

/// The profile of a file, loaded to be asked.
fn trial<'n>(node: &'n Node, file: &Path, label: &Label) -> Result<Trial<'n>> {
    let [name] = label.components() else {
        return Err(Error::new(
            Kind::Usage,
            "with --source, --profile is the name of one profile",
        )
        .with_remedy("name a profile that the file declares"));
    };
    let failed = |e: &io::Error| Error::io("read", file, e);
    let opened = File::open(file).map_err(|e| failed(&e).of(Kind::NotFound))?;
    let text = bounded::read(&opened, MAX).map_err(|e| failed(&e))?;
    let text = text.ok_or_else(|| {
        let why = format!(
            "{} is larger than 4 MiB, the limit for profiles",
            file.display()
        );
        Error::new(Kind::Policy, why).with_remedy("name a file with a profile")
    })?;
    Trial::load(node, &text, &name.root())
}

impl WhyArguments {
    /// The label that is asked about.
    fn label(&self) -> Result<Label> {
        if let Some(name) = &self.profile {
            return Label::parse(name);
        }
        let record = recorded(self.container.as_deref().unwrap_or_default())?;
        record.label.clone().ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("the container {} has no label of ours", record.id),
            )
            .with_remedy("name the profile: oci-apparmor why --profile NAME")
        })
    }

    fn questions(&self) -> Result<Vec<Question>> {
        let text = |text: &str| OutsideText::new(text.as_bytes());
        let mut questions = Vec::new();
        for path in &self.path {
            questions.push(match &self.link_to {
                Some(target) => Question::Link {
                    link: text(path),
                    target: text(target),
                },
                None => Question::File {
                    path: text(path),
                    permissions: self.letters()?,
                },
            });
        }
        for name in &self.capability {
            questions.push(Question::Capability(known(
                "capability",
                name,
                numbers::capability(name),
            )?));
        }
        for socket in &self.network {
            questions.push(self.socket(socket)?);
        }
        let peer = text(self.peer.as_deref().unwrap_or_default());
        for signal in &self.signal {
            questions.push(Question::Signal {
                signal: known("signal", signal, numbers::signal(signal))?,
                permissions: self.words(&bits::SIGNAL, "send")?,
                peer: peer.clone(),
            });
        }
        if self.ptrace {
            questions.push(Question::Ptrace {
                permissions: self.words(&bits::PTRACE, "trace")?,
                peer,
            });
        }
        if let Some(target) = &self.mount {
            let optional = |value: &Option<String>| value.as_deref().map(text);
            questions.push(Question::Mount(MountCall {
                target: text(target),
                source: optional(&self.device),
                fstype: optional(&self.fstype),
                flags: match &self.flags {
                    Some(flags) => known("flag of a mount", flags, numbers::mount_flags(flags))?,
                    None => 0,
                },
                data: None,
            }));
        }
        questions.extend(
            self.umount
                .iter()
                .map(|target| Question::Umount(text(target))),
        );
        questions.extend(
            self.change_profile
                .iter()
                .map(|label| Question::ChangeProfile {
                    label: text(label),
                    on_exec: false,
                    stacked: false,
                }),
        );
        questions.extend(self.userns.then_some(Question::UserNamespace));
        for line in &self.event {
            let event = Event::parse(line.as_bytes()).ok();
            questions.push(known(
                "line of a log whose access can be asked about",
                line,
                event.and_then(|event| Question::of(&event)),
            )?);
        }
        Ok(questions)
    }

    fn socket(&self, socket: &str) -> Result<Question> {
        let mut parts = socket.split(',').map(str::trim);
        let mut part = || parts.next().unwrap_or_default();
        let (family, kind, protocol) = (part(), part(), part());
        if kind.is_empty() {
            let why = format!("{} is not a family and a type", quoted(socket));
            return Err(
                Error::new(Kind::Usage, why).with_remedy("write both: --network inet,stream")
            );
        }
        Ok(Question::Network {
            family: known("socket family", family, numbers::family(family))?,
            kind: known("socket type", kind, numbers::socket_type(kind))?,
            protocol: known("protocol", protocol, numbers::protocol(protocol))?,
            permissions: self.words(&bits::NETWORK, "create")?,
        })
    }

    fn letters(&self) -> Result<u32> {
        let letters = self.access.as_deref().unwrap_or("r");
        known("permission", letters, bits::of_letters(letters))
    }

    fn words(&self, table: &[(&str, u32)], usual: &str) -> Result<u32> {
        let words = self.access.as_deref().unwrap_or(usual);
        known("permission", words, bits::of_words(words, table))
    }
}

/// A word of the command line that must mean something.
fn known<T>(what: &str, word: &str, meaning: Option<T>) -> Result<T> {
    meaning.ok_or_else(|| {
        Error::new(Kind::Usage, format!("{} is not a {what}", quoted(word)))
            .with_remedy("run: oci-apparmor why --help")
    })
}

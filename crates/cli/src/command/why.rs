//! `why`: whether a loaded profile allows an access, and which line of its source decides.

use clap::{ArgGroup, Args};
use serde::Serialize;

use crate::policy::bits;
use crate::policy::explanation::{Explanation, ExplanationJson, explain};
use crate::policy::numbers;
use crate::policy::question::{MountCall, Question};
use crate::report::output::Output;
use oci_apparmor::apparmor::name::Label;
use oci_apparmor::containers::record::Record;
use oci_apparmor::containers::records;
use oci_apparmor::error::{Error, Kind, Result, quoted};
use oci_apparmor::node::Node;
use oci_apparmor::settings::Settings;
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
        "userns",
    ]),
    after_help = "\
Exit codes: 0 all of it is allowed; 3 the profile is not loaded; 5 some of it is denied; 8 the \
kernel cannot tell.

Examples:
  oci-apparmor why --profile web --path /etc/shadow
  oci-apparmor why --profile web --path /var/log/web/ --path /run/web.sock --access rw
  oci-apparmor why --container 3f2a9c --capability net_bind_service
  oci-apparmor why --container 3f2a9c --network inet,stream --access 'create bind listen'
  oci-apparmor why --profile web --signal term --peer runc --access receive"
)]
pub(crate) struct WhyArguments {
    /// A container that was made through the wrapper: its id, the start of it, or its name
    #[arg(long, value_name = "ID")]
    container: Option<String>,
    /// A loaded profile, a child (web//child), or a stack (web//&base)
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
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
    source: Option<String>,
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
    change_profile: Option<String>,
    /// A new user namespace
    #[arg(long)]
    userns: bool,
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
}

pub(crate) fn run(arguments: &WhyArguments, output: Output) -> Result<u8> {
    // What is loaded does not depend on the configuration, so a broken one does not matter.
    let node = Node::with(Settings::load().unwrap_or_default());
    let label = arguments.label()?;
    let questions = arguments.questions()?;
    let explanations = explain(&node, &label, &questions, !arguments.no_lines)?;
    match arguments.json {
        true => output.json(&WhyJson {
            label: label.to_string(),
            answers: explanations.iter().map(Explanation::json).collect(),
        })?,
        false => explanations
            .iter()
            .try_for_each(|explanation| output.text(&explanation.text()))?,
    }
    let is = |word: &str| explanations.iter().any(|e| e.word() == word);
    Ok(match () {
        () if is("denied") => Kind::Policy.exit_code(),
        () if is("unknown") => Kind::Internal.exit_code(),
        () => 0,
    })
}

impl WhyArguments {
    /// The label that is asked about.
    fn label(&self) -> Result<Label> {
        if let Some(name) = &self.profile {
            return Label::parse(name);
        }
        let record = container(self.container.as_deref().unwrap_or_default())?;
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
                source: optional(&self.source),
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
        Ok(questions)
    }

    fn socket(&self, socket: &str) -> Result<Question> {
        let mut parts = socket.split(',').map(str::trim);
        let mut part = || parts.next().unwrap_or_default();
        let (family, kind, protocol) = (part(), part(), part());
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

/// The container with this id, an id that begins so, or this name in its pod.
fn container(wanted: &str) -> Result<Record> {
    let all = records::all()?;
    let matching: Vec<&Record> = match all.iter().find(|record| record.id == wanted) {
        Some(record) => vec![record],
        None => all
            .iter()
            .filter(|r| r.id.starts_with(wanted) || r.container.as_deref() == Some(wanted))
            .collect(),
    };
    match matching.as_slice() {
        [record] => Ok((*record).clone()),
        [] => Err(Error::new(
            Kind::NotFound,
            format!(
                "no container {} was made through the wrapper",
                quoted(wanted)
            ),
        )
        .with_remedy("run: oci-apparmor ps")),
        several => Err(Error::new(
            Kind::Usage,
            format!("{} containers match {}", several.len(), quoted(wanted)),
        )
        .with_remedy("give more of the id: oci-apparmor ps")),
    }
}

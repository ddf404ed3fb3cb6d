//! `why`: whether a loaded profile allows an access, and which line of its source decides.

use clap::{ArgGroup, Args};
use serde::Serialize;

use crate::policy::access::{Answer, LoadedPolicy};
use crate::policy::bits;
use crate::policy::numbers;
use crate::policy::question::{MountCall, Question};
use crate::report::output::Output;
use oci_apparmor::apparmor::loaded::Mode;
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
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct WhyJson<'w> {
    label: String,
    answers: Vec<AnswerJson<'w>>,
}

/// The answer to one question.
#[derive(Debug, Serialize)]
struct AnswerJson<'w> {
    access: String,
    answer: &'static str,
    profiles: Vec<ProfileAnswerJson<'w>>,
}

/// What one profile of a stack says.
#[derive(Debug, Serialize)]
struct ProfileAnswerJson<'w> {
    profile: &'w str,
    mode: Mode,
    answer: &'static str,
    explicit: Option<bool>,
    reason: Option<&'w str>,
}

/// What one profile says about one access.
struct ProfileAnswer {
    profile: String,
    mode: Mode,
    answer: Answer,
}

pub(crate) fn run(arguments: &WhyArguments, output: Output) -> Result<u8> {
    // What is loaded does not depend on the configuration, so a broken one does not matter.
    let node = Node::with(Settings::load().unwrap_or_default());
    let label = arguments.label()?;
    let questions = arguments.questions()?;
    let policies: Vec<LoadedPolicy<'_>> = label
        .components()
        .iter()
        .map(|name| LoadedPolicy::open(&node, name.as_str()))
        .collect::<Result<_>>()?;
    let mut answered = Vec::new();
    for question in &questions {
        let answers: Vec<ProfileAnswer> = policies
            .iter()
            .map(|policy| ProfileAnswer {
                profile: policy.name().to_owned(),
                mode: policy.loaded().mode,
                answer: policy.ask(question),
            })
            .collect();
        answered.push((question, answers));
    }
    match arguments.json {
        true => output.json(&WhyJson {
            label: label.to_string(),
            answers: answered.iter().map(|(q, a)| AnswerJson::of(q, a)).collect(),
        })?,
        false => {
            for (question, answers) in &answered {
                for answer in answers {
                    output.line(format!("{question}: {}", answer.sentence()))?;
                }
            }
        }
    }
    let words: Vec<&str> = answered.iter().map(|(_, a)| overall(a)).collect();
    Ok(match () {
        () if words.contains(&"denied") => Kind::Policy.exit_code(),
        () if words.contains(&"unknown") => Kind::Internal.exit_code(),
        () => 0,
    })
}

impl ProfileAnswer {
    /// The word for the answer, in the mode that the profile has: complain mode allows what no rule
    /// allows, but not what a `deny` rule refuses.
    fn word(&self) -> &'static str {
        match &self.answer {
            Answer::Allowed => "allowed",
            Answer::AllowedForOwner => "allowed-for-owner",
            Answer::AllowedForOthers => "allowed-for-others",
            Answer::NotMediated => "not-mediated",
            Answer::Unknown(_) => "unknown",
            Answer::Denied { explicit } => match (self.mode, explicit) {
                (Mode::Complain, Some(false)) => "complains",
                _ => "denied",
            },
        }
    }

    fn sentence(&self) -> String {
        let name = &self.profile;
        match &self.answer {
            Answer::Allowed => format!("allowed by {name}"),
            Answer::AllowedForOwner => {
                format!("allowed by {name}, but only if the process's user owns the file")
            }
            Answer::AllowedForOthers => {
                format!("allowed by {name}, but only if the process's user does not own the file")
            }
            Answer::NotMediated => {
                format!("allowed: {name} says nothing about accesses of this kind")
            }
            Answer::Unknown(why) => format!("unknown: {why}"),
            Answer::Denied { explicit } => match (self.mode, explicit) {
                (Mode::Complain, Some(false)) => format!(
                    "allowed and logged: no rule of {name} allows it, and {name} is in complain mode"
                ),
                (_, Some(false)) => format!("denied: no rule of {name} allows it"),
                (_, Some(true)) => {
                    format!("denied by a deny rule of {name}; nothing of this is logged")
                }
                (_, None) => format!("denied by {name}"),
            },
        }
    }
}

/// What a stack says: every profile of it must allow an access.
fn overall(answers: &[ProfileAnswer]) -> &'static str {
    const BY_WEIGHT: [&str; 7] = [
        "denied",
        "unknown",
        "allowed-for-owner",
        "allowed-for-others",
        "complains",
        "allowed",
        "not-mediated",
    ];
    let has = |word: &&str| answers.iter().any(|answer| answer.word() == *word);
    BY_WEIGHT.into_iter().find(has).unwrap_or("unknown")
}

impl<'w> AnswerJson<'w> {
    fn of(question: &Question, answers: &'w [ProfileAnswer]) -> Self {
        Self {
            access: question.to_string(),
            answer: overall(answers),
            profiles: answers
                .iter()
                .map(|answer| ProfileAnswerJson {
                    profile: &answer.profile,
                    mode: answer.mode,
                    answer: answer.word(),
                    explicit: match answer.answer {
                        Answer::Denied { explicit } => explicit,
                        _ => None,
                    },
                    reason: match &answer.answer {
                        Answer::Unknown(why) => Some(why),
                        _ => None,
                    },
                })
                .collect(),
        }
    }
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

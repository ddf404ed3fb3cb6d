//! One call of a program on a node, what it came to, and how the low-level runtime was called.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use crate::node::{BUNDLE, Node};

/// What podman rewrites; it must never be in a message of ours.
const REWRITTEN: [&str; 5] = [
    "no such file or directory",
    "permission denied",
    "operation not permitted",
    "executable file not found",
    "open executable",
];

/// A call that is being prepared.
pub(crate) struct Call<'n> {
    node: &'n Node,
    words: Vec<String>,
    before: Vec<String>,
    environment: Vec<String>,
    directory: String,
    prelude: String,
    input: Option<Vec<u8>>,
}

impl<'n> Call<'n> {
    /// A call from the bundle's directory, without any environment or input.
    pub(crate) fn new(node: &'n Node, program: &str, words: &[&str]) -> Self {
        Self {
            node,
            words: [program]
                .iter()
                .chain(words)
                .map(|w| (*w).to_owned())
                .collect(),
            before: Vec::new(),
            environment: Vec::new(),
            directory: BUNDLE.to_owned(),
            prelude: String::new(),
            input: None,
        }
    }

    /// Puts a program in front, which becomes ours.
    pub(crate) fn through(mut self, words: &[&str]) -> Self {
        self.before = words.iter().map(|w| (*w).to_owned()).collect();
        self
    }

    /// The whole environment, in this order.
    pub(crate) fn environment(mut self, variables: &[&str]) -> Self {
        self.environment = variables.iter().map(|v| (*v).to_owned()).collect();
        self
    }

    pub(crate) fn directory(mut self, inside: &str) -> Self {
        self.directory = inside.to_owned();
        self
    }

    /// What the shell does before it becomes ours.
    pub(crate) fn prelude(mut self, shell: &str) -> Self {
        self.prelude = shell.to_owned();
        self
    }

    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    pub(crate) fn spawn(self) -> Child {
        let mut words = self.before;
        words.extend(["env".to_owned(), "-i".to_owned()]);
        words.extend(self.environment);
        words.extend(self.words);
        let mut command = self.node.enter(&self.directory, &self.prelude, &words);
        // By way of a file, so that nothing has to be written while the program reads.
        let input = self.input.map(|bytes| {
            let path = self.node.path("/run/input");
            fs::write(&path, bytes).unwrap();
            File::open(path).unwrap()
        });
        command
            .stdin(input.map_or(Stdio::null(), Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn outcome(self) -> Outcome {
        let child = self.spawn();
        let pid = child.id();
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
            pid,
        }
    }
}

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) pid: u32,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn silent_success(&self) {
        assert_eq!((self.code, &*self.stdout, &*self.stderr), (Some(0), "", ""));
    }
}

/// How the low-level runtime was called.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// Its path.
    pub(crate) program: String,
    /// The words behind its name.
    pub(crate) words: Vec<String>,
    /// The environment, as the kernel has it.
    pub(crate) environment: String,
    pub(crate) pid: u32,
    /// `SigBlk` and `SigIgn` of /proc/PID/status.
    pub(crate) signals: String,
    /// The open descriptors, each with what it is.
    pub(crate) descriptors: Vec<String>,
    /// The bundle's configuration at that time.
    pub(crate) config: Option<Vec<u8>>,
    pub(crate) inode: Option<u64>,
    /// The file of `--process` at that time.
    pub(crate) process: Option<Vec<u8>>,
}

impl Recorded {
    pub(crate) fn read(node: &Node, record: &str) -> Self {
        let maybe = |name: &str| {
            let file = format!("{record}/{name}");
            node.exists(&file).then(|| node.read(&file))
        };
        let text = |name: &str| String::from_utf8(maybe(name).unwrap()).unwrap();
        let argv = maybe("argv").unwrap();
        let argv = argv.strip_suffix(b"\0").unwrap();
        // A script's first two words are its interpreter and its path.
        let words = argv.split(|b| *b == 0).skip(2);
        let words = words.map(|w| {
            std::ffi::OsString::from_vec(w.to_vec())
                .into_string()
                .unwrap()
        });
        Self {
            program: text("program").trim().to_owned(),
            words: words.collect(),
            environment: text("environ"),
            pid: text("pid").trim().parse().unwrap(),
            signals: text("signals"),
            descriptors: text("fds").lines().map(str::to_owned).collect(),
            config: maybe("config"),
            inode: maybe("inode").map(|_| text("inode").trim().parse().unwrap()),
            process: maybe("process"),
        }
    }

    /// The configuration at that time, as text.
    #[track_caller]
    pub(crate) fn config_text(&self) -> String {
        String::from_utf8(self.config.clone().expect("no configuration")).unwrap()
    }
}

/// One line that an engine will pass on as it is.
#[track_caller]
pub(crate) fn one_line(text: &str) -> &str {
    let line = text
        .strip_suffix('\n')
        .unwrap_or_else(|| panic!("not one line: {text:?}"));
    assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
    let lower = line.to_lowercase();
    for phrase in REWRITTEN {
        assert!(!lower.contains(phrase), "{line}");
    }
    line
}

/// Waits, for some seconds, until something is the case.
#[track_caller]
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "still not so after 30 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads to the end, which must come within some seconds.
#[track_caller]
pub(crate) fn to_the_end(mut stream: impl Read + Send + 'static) -> Vec<u8> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = sender.send(stream.read_to_end(&mut bytes).map(|_| bytes));
    });
    receiver
        .recv_timeout(Duration::from_secs(30))
        .expect("the pipe is still held open")
        .unwrap()
}

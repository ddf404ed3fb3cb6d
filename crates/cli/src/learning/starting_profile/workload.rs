//! What some well-known programs need, as their packages and images install them.

use clap::ValueEnum;

/// A well-known kind of program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// A web server or proxy: its configuration, pages, caches and logs
    Nginx,
    /// A Redis server: its data, configuration and socket
    Redis,
    /// A PostgreSQL server: its programs, data, configuration and socket
    Postgres,
    /// A Python program: the interpreter, its modules, and connections
    Python,
    /// A shell job: the programs of the image, and temporary files
    Shell,
}

/// What one program needs, beyond what every container needs.
#[derive(Debug)]
pub(super) struct Needs {
    /// What it is called in a comment.
    pub(super) name: &'static str,
    /// Rules for files, without their commas.
    pub(super) files: &'static [&'static str],
    /// Capabilities. A container has at most those of its configuration.
    pub(super) capabilities: &'static [&'static str],
    /// Kinds of sockets.
    pub(super) network: &'static [&'static str],
}

impl Workload {
    /// What it needs.
    pub(super) fn needs(self) -> &'static Needs {
        match self {
            Self::Nginx => &NGINX,
            Self::Redis => &REDIS,
            Self::Postgres => &POSTGRES,
            Self::Python => &PYTHON,
            Self::Shell => &SHELL,
        }
    }
}

const NGINX: Needs = Needs {
    name: "nginx",
    files: &[
        "/usr/sbin/nginx mrix",
        "/etc/nginx/{,**} r",
        "/usr/share/nginx/{,**} r",
        "/var/www/{,**} r",
        "/var/log/nginx/{,*} rw",
        "/var/lib/nginx/{,**} rwk",
        "/var/cache/nginx/{,**} rwk",
        "/run/nginx.pid rwk",
        "/etc/ssl/openssl.cnf r",
    ],
    capabilities: &[
        "chown",
        "dac_override",
        "kill",
        "net_bind_service",
        "setgid",
        "setuid",
    ],
    network: &["inet stream", "inet6 stream"],
};

const REDIS: Needs = Needs {
    name: "Redis",
    files: &[
        "/usr/{,local/}bin/redis-* mrix",
        "/etc/redis/{,**} r",
        "/data/{,**} rwk",
        "/var/lib/redis/{,**} rwk",
        "/var/log/redis/{,*} rw",
        "/run/redis/{,*} rwk",
        "@{PROC}/sys/net/core/somaxconn r",
        "/sys/kernel/mm/transparent_hugepage/enabled r",
    ],
    capabilities: &["chown", "setgid", "setuid"],
    network: &["inet stream", "inet6 stream"],
};

const POSTGRES: Needs = Needs {
    name: "PostgreSQL",
    files: &[
        "/usr/lib/postgresql/*/bin/* mrix",
        "/usr/share/postgresql/{,**} r",
        "/etc/postgresql/{,**} r",
        "/var/lib/postgresql/{,**} rwkl",
        "/var/log/postgresql/{,*} rw",
        "/run/postgresql/{,*} rwk",
        "/dev/shm/PostgreSQL.* rw",
        "/etc/ssl/openssl.cnf r",
    ],
    capabilities: &["chown", "fowner", "setgid", "setuid"],
    network: &["inet stream", "inet dgram", "inet6 stream", "inet6 dgram"],
};

const PYTHON: Needs = Needs {
    name: "Python",
    files: &[
        "/usr/{,local/}bin/python3* mrix",
        "/usr/local/lib/{,python3*/,python3*/**} mr",
        "/usr/share/python3/{,**} r",
        "/etc/python3*/{,**} r",
        "/etc/ssl/{openssl.cnf,certs/,certs/**} r",
        "/usr/share/ca-certificates/{,**} r",
    ],
    capabilities: &[],
    network: &["inet stream", "inet dgram", "inet6 stream", "inet6 dgram"],
};

const SHELL: Needs = Needs {
    name: "a shell job",
    files: &[
        "/{usr/,usr/local/,}{bin,sbin}/{,*} mrix",
        "/etc/profile r",
        "owner /{,var/}tmp/{,**} rwk",
    ],
    capabilities: &[],
    network: &[],
};

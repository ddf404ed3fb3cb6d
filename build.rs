//! What the linker is told about the wrapper and the hook. All of it is known to GNU ld and to lld.

use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

/// The tables for unwinding, of all that is linked: a tenth of these programs, and nothing reads them.
/// A panic aborts, and its message has no backtrace (`crates/entry/src/unwind.rs`).
const NO_UNWIND_TABLES: &str = "\
SECTIONS { /DISCARD/ : { *(.eh_frame) *(.gcc_except_table .gcc_except_table.*) } }
INSERT AFTER .text;
";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    mark_the_wrapper();
    // Other profiles unwind when they panic, and other architectures were not tried.
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|found| found == value);
    if is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
    {
        let directory = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
        let script = Path::new(&directory).join("no-unwind-tables.ld");
        fs::write(&script, NO_UNWIND_TABLES)?;
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        println!("cargo::rustc-link-arg-bins=-T{}", script.display());
        if is_relr_known_to_the_c_library() {
            println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
    }
    Ok(())
}

/// Whether the C library that is linked relocates a static program by `DT_RELR`, which takes a few
/// hundred bytes where `DT_RELA` takes 24 for each address. glibc does since 2.36. An older one would
/// not see the table, and the program would crash at its start; so would one that is not known.
fn is_relr_known_to_the_c_library() -> bool {
    if env::var("HOST") != env::var("TARGET") {
        return false;
    }
    let Ok(answer) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else {
        return false;
    };
    let answer = String::from_utf8_lossy(&answer.stdout);
    let version = answer.trim().strip_prefix("glibc ").unwrap_or_default();
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (2, 36),
        _ => false,
    }
}

/// Marks the wrapper, so that a copy or another build of it is recognised by its first bytes; see
/// `src/runtime/own_binary.rs`.
fn mark_the_wrapper() {
    // The build id stands right after the headers. Its end tells versions apart.
    let id = concat!("oci-apparmor-runtime", env!("CARGO_PKG_VERSION"));
    let id: String = id.bytes().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-link-arg-bin=oci-apparmor-runtime=-Wl,--build-id=0x{id}");
}

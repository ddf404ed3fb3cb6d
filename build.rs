//! What the linker is told about the wrapper and the hook.

use std::path::Path;
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
    // Other profiles unwind when they panic.
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|found| found == value);
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        let directory = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
        let script = Path::new(&directory).join("no-unwind-tables.ld");
        fs::write(&script, NO_UNWIND_TABLES)?;
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    }
    Ok(())
}

/// Marks the wrapper, so that a copy or another build of it is recognised by its first bytes; see
/// `src/runtime/own_binary.rs`.
fn mark_the_wrapper() {
    // The build id stands right after the headers. Its end tells versions apart.
    let id = concat!("oci-apparmor-runtime", env!("CARGO_PKG_VERSION"));
    let id: String = id.bytes().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-link-arg-bin=oci-apparmor-runtime=-Wl,--build-id=0x{id}");
}

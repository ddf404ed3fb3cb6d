//! Marks the wrapper, so that a copy or another build of it is recognised by its first bytes; see
//! `src/runtime/own_binary.rs`.

fn main() {
    // The build id stands right after the headers. Its end tells versions apart.
    let id = concat!("oci-apparmor-runtime", env!("CARGO_PKG_VERSION"));
    let id: String = id.bytes().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-link-arg-bin=oci-apparmor-runtime=-Wl,--build-id=0x{id}");
    println!("cargo::rerun-if-changed=build.rs");
}

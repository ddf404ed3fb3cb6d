//! The OCI hook; see [`oci_apparmor::hook`].
fn main() -> std::process::ExitCode {
    oci_apparmor::hook::main()
}

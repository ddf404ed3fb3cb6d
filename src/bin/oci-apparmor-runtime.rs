//! The runtime wrapper; see [`oci_apparmor::runtime`].
fn main() -> std::process::ExitCode {
    oci_apparmor::runtime::main()
}

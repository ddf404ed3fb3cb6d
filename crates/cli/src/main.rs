//! The command line for people; see [`oci_apparmor_cli`].
fn main() -> std::process::ExitCode {
    oci_apparmor_cli::main()
}

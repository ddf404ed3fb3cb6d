//! The command line for people; see [`oci_apparmor::cli`].
fn main() -> std::process::ExitCode {
    oci_apparmor::cli::main()
}

//! The agent of a node in a Kubernetes cluster; see [`oci_apparmor_agent`].
fn main() -> std::process::ExitCode {
    oci_apparmor_agent::main()
}

//! The OCI hook; see [`oci_apparmor::hook`].
#![cfg_attr(target_env = "gnu", no_main)]
oci_apparmor_entry::entry!(oci_apparmor::hook::main);

//! The runtime wrapper; see [`oci_apparmor::runtime`].
#![cfg_attr(target_env = "gnu", no_main)]
oci_apparmor_entry::entry!(oci_apparmor::runtime::main);

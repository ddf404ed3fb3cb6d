//! containerd: a runtime of its CRI plugin.
//!
//! containerd before 2.1 takes a plugin's section from the last file that has it, and ignores that
//! section in all other files (containerd#5837). Later releases merge the sections. So `configure`
//! changes the last file that has the plugin's section: there a runtime is in force under both
//! rules.

mod drop_in;
mod edit;
mod imports;
mod inherit;
mod inspect;
mod new_runtime;
mod parsed;
mod template;
#[cfg(test)]
mod tests;

pub(crate) use drop_in::drop_in;
pub(crate) use edit::{configure, is_empty, without};
pub(crate) use imports::{imports, with_imports};
pub(crate) use inspect::inspect;
pub(crate) use parsed::main_version;
pub(crate) use template::{
    inspect as inspect_template, is_empty as template_is_empty, template,
    without as template_without,
};

//! `start`: the last moment at which nothing has run yet.
//!
//! A profile that is removed between `create` and `start` silently turns the label that waits
//! into `unconfined`, and loading it again does not bring it back (seen on 6.1, 6.12 and 7.2).
//! The number of its directory in the kernel tells: it is never used twice.

use crate::apparmor::kernel::{Enforcement, Kernel};
use crate::apparmor::loaded::Mode;
use crate::error::{Error, Kind, Result};
use crate::profiles::Source;
use crate::runtime::argv::Line;
use crate::runtime::locate::Located;
use crate::runtime::record::{self, Place, Recorded};
use crate::runtime::{Next, exec, roots};
use crate::settings::Settings;

pub(super) fn prepare(runtime: &Located, line: &Line) -> Result<Next> {
    let root = roots::root(runtime.kind, line.global("root"));
    let place = Place {
        root: &root,
        id: &line.id,
    };
    let Some(record) = record::read(place)? else {
        // The bundle says which label waits, but nothing says what the kernel held then.
        return match exec::from_bundle(runtime, place, line, &Settings::default())? {
            Some(lost) if !lost.components.is_empty() => Err(Error::new(
                Kind::Policy,
                "the record of this container is lost, so it cannot be told whether its profile \
                 is still in force",
            )
            .hint("delete the container and create it anew")),
            _ => Ok(Next::HandOn),
        };
    };
    let kernel = Kernel::default();
    if let (false, Enforcement::Off(why)) = (record.components.is_empty(), kernel.enforcement()) {
        return Err(Error::new(Kind::KernelOff, why).hint("run: oci-apparmor check"));
    }
    for recorded in &record.components {
        if !is_in_force(&kernel, recorded) {
            return Err(Error::new(
                Kind::Policy,
                format!(
                    "the profile {} was removed, replaced or set to another mode since the \
                     container was created; it would start without it",
                    recorded.name
                ),
            )
            .hint("delete the container and create it anew"));
        }
    }
    Ok(Next::HandOn)
}

/// Whether the kernel has the very profile that the waiting label means, and it confines as much.
fn is_in_force(kernel: &Kernel, recorded: &Recorded) -> bool {
    let Some(now) = kernel.at(&recorded.directory, recorded.name.as_str()) else {
        return false;
    };
    now.mode == recorded.mode || now.mode.enforces() || {
        let settings = Settings::load().unwrap_or_default();
        now.mode == Mode::Complain && Source::complains(&recorded.name, &settings)
    }
}

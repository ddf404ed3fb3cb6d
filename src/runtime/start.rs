//! `start`: the last moment at which nothing has run yet.
//!
//! A profile that is removed between `create` and `start` silently turns the label that waits
//! into `unconfined`, and loading it again does not bring it back (seen on 6.1, 6.12 and 7.2).
//! The number of its directory in the kernel tells: it is never used twice.

use crate::apparmor::kernel::{Enforcement, Kernel};
use crate::error::{Error, Kind, Result};
use crate::runtime::argv::Line;
use crate::runtime::locate::Located;
use crate::runtime::record::{self, Place};
use crate::runtime::{Next, roots};

pub(super) fn prepare(runtime: &Located, line: &Line) -> Result<Next> {
    let root = roots::root(runtime.kind, line.global("root"));
    let Some(record) = record::read(Place {
        root: &root,
        id: &line.id,
    })?
    else {
        return Ok(Next::HandOn);
    };
    let kernel = Kernel::default();
    if let (false, Enforcement::Off(why)) = (record.components.is_empty(), kernel.enforcement()) {
        return Err(Error::new(Kind::KernelOff, why).hint("run: oci-apparmor check"));
    }
    for recorded in &record.components {
        if !kernel.still(&recorded.name, &recorded.loaded()) {
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

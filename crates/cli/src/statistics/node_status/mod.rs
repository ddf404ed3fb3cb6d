//! What the cluster is told about this node: the status of its `NodeAppArmor` object, in a file that
//! the agent reads.
//!
//! | file | what |
//! |---|---|
//! | `gather` | looks at the node, and brings the file up to date |
//! | `file` | the file |
//! | `recent_denials` | what AppArmor denied in the last hour, and what of it is lost |
//! | `lost_records` | how the kernel's counter of lost records grew in that hour |
//! | `facts` | facts as parts of the status. Pure |

mod facts;
mod file;
mod gather;
mod lost_records;
mod recent_denials;

pub(crate) use file::StatusFile;
pub(crate) use gather::{gather, profiles};

//! What one node tells its cluster: the status of a `NodeAppArmor` object.
//!
//! `oci-apparmor node status` makes it, as root, and the agent adds what only it knows and applies
//! it. The API server refuses a whole object if one text of it is too long, so both keep it within
//! the limits of `deploy/crds/nodeapparmors` ([`NodeStatus::fit`]). Nothing here touches the system.
//!
//! | module | what |
//! |---|---|
//! | `conditions` | what the conditions Ready and ProfilesAccepted say, and since when |
//! | `limits` | the limits of the definition |
//! | `status` | the fields |

mod conditions;
mod limits;
mod status;

pub use conditions::{ConditionVerdict, PROFILES_ACCEPTED, READY, rfc3339};
pub use limits::{MAX_BYTES, MAX_PROFILES, MAX_REASON};
pub use status::{
    ConditionStatus, ContainerCounts, DenialCounts, EngineCalls, EngineStatus, KernelStatus,
    NodeCondition, NodeProfile, NodeStatus, ProfileCounts, ProfileDenials, ProfileState,
    ProgramVersions,
};

//! The conditions, and since when they are as they are.

use std::time::SystemTime;

use crate::status::{ConditionStatus, EngineCalls, NodeCondition, NodeStatus};

/// The type of the condition that the kernel enforces profiles and the engine of the kubelet calls
/// oci-apparmor.
pub const READY: &str = "Ready";

/// The type of the condition that no profile is refused.
pub const PROFILES_ACCEPTED: &str = "ProfilesAccepted";

/// How many refused profiles its message names.
const MAX_NAMED: usize = 10;

/// What a condition says at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionVerdict {
    /// Whether it is met.
    pub status: ConditionStatus,
    /// Why, as one word.
    pub reason: &'static str,
    /// The same for people.
    pub message: String,
}

impl ConditionVerdict {
    fn new(status: ConditionStatus, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            reason,
            message,
        }
    }

    /// That nothing is known of it.
    #[must_use]
    pub fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::Unknown, reason, message)
    }
}

/// A time as RFC 3339 writes it, to the second.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Whether a text is such a time.
pub(crate) fn is_time(text: &str) -> bool {
    humantime::parse_rfc3339(text).is_ok()
}

impl NodeStatus {
    /// Whether the kernel enforces profiles, and the first engine, that of the kubelet, calls
    /// oci-apparmor. The hook alone does not count: it covers neither exec nor a floor.
    #[must_use]
    pub fn readiness(&self) -> ConditionVerdict {
        use ConditionStatus::{False, True};
        let Some(kernel) = &self.kernel else {
            return ConditionVerdict::unknown("KernelUnknown", "nothing is known of the kernel");
        };
        if !kernel.enforcing {
            let why = kernel.reason.as_deref().unwrap_or("the reason is unknown");
            let message = format!("the kernel does not enforce profiles: {why}");
            return ConditionVerdict::new(False, "NotEnforcing", message);
        }
        let Some(engine) = self.engines.first() else {
            return ConditionVerdict::new(False, "NoEngine", "no container engine was found");
        };
        let name = &engine.name;
        let because = |otherwise: String| engine.reason.clone().unwrap_or(otherwise);
        let says = |which: &str| {
            format!("the kernel enforces profiles, and {name} calls oci-apparmor for {which}")
        };
        match engine.calls {
            EngineCalls::All => ConditionVerdict::new(True, "CalledForAll", says("all containers")),
            EngineCalls::Named => {
                let message = says("containers that name its runtime");
                ConditionVerdict::new(True, "CalledWhenNamed", message)
            }
            EngineCalls::Hook => {
                let message = because(format!("{name} calls only the hook of oci-apparmor"));
                ConditionVerdict::new(False, "OnlyHook", message)
            }
            EngineCalls::None => {
                let message = because(format!("{name} does not call oci-apparmor"));
                ConditionVerdict::new(False, "NotCalled", message)
            }
            EngineCalls::Unknown => {
                let message = because(format!("it is unknown whether {name} calls oci-apparmor"));
                ConditionVerdict::unknown("EngineUnknown", message)
            }
        }
    }

    /// Whether no profile is refused.
    #[must_use]
    pub fn acceptance(&self) -> ConditionVerdict {
        let counts = self.profile_counts;
        if counts.refused == 0 {
            let message = match counts.all() {
                0 => "there are no profiles".to_owned(),
                1 => "1 profile is accepted".to_owned(),
                all => format!("{all} profiles are accepted"),
            };
            return ConditionVerdict::new(ConditionStatus::True, "Accepted", message);
        }
        let names: Vec<&str> = self
            .refused()
            .map(|profile| profile.name.as_str())
            .collect();
        let more = usize::try_from(counts.refused).unwrap_or(usize::MAX);
        let more = more.saturating_sub(names.len().min(MAX_NAMED));
        let mut named: Vec<&str> = names.into_iter().take(MAX_NAMED).collect();
        let rest = format!("{more} more");
        if more > 0 {
            named.push(&rest);
        }
        let message = format!(
            "refused are {} of {} profiles: {}",
            counts.refused,
            counts.all(),
            named.join(", ")
        );
        ConditionVerdict::new(ConditionStatus::False, "Refused", message)
    }

    /// Both conditions, as they are now. The time of a condition whose status was the same in
    /// `before` stays.
    pub fn judge(&mut self, before: Option<&Self>, now: SystemTime) {
        let (ready, accepted) = (self.readiness(), self.acceptance());
        let old = before.map(|before| before.conditions.clone());
        self.conditions = old.unwrap_or_default();
        self.set_condition(READY, ready, now);
        self.set_condition(PROFILES_ACCEPTED, accepted, now);
        self.conditions
            .retain(|c| c.kind == READY || c.kind == PROFILES_ACCEPTED);
    }

    /// Sets one condition, which has changed `now` if its status is another one than before.
    pub fn set_condition(&mut self, kind: &str, verdict: ConditionVerdict, now: SystemTime) {
        let known = self.condition(kind).filter(|c| c.status == verdict.status);
        let since = known.map(|c| c.last_transition_time.clone());
        let condition = NodeCondition {
            kind: kind.to_owned(),
            status: verdict.status,
            last_transition_time: since.unwrap_or_else(|| rfc3339(now)),
            reason: verdict.reason.to_owned(),
            message: Some(verdict.message),
        };
        match self.conditions.iter_mut().find(|c| c.kind == kind) {
            Some(old) => *old = condition,
            None => self.conditions.push(condition),
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::status::{EngineStatus, KernelStatus, NodeProfile, ProfileState};

    fn enforcing(calls: EngineCalls) -> NodeStatus {
        NodeStatus {
            kernel: Some(KernelStatus {
                enforcing: true,
                ..KernelStatus::default()
            }),
            engines: vec![EngineStatus {
                name: "containerd".to_owned(),
                calls,
                reason: Some("why".to_owned()),
            }],
            ..NodeStatus::default()
        }
    }

    #[test]
    fn a_node_is_ready_if_the_kernel_enforces_and_the_wrapper_is_called() {
        use ConditionStatus::{False, True, Unknown};
        for (calls, status, reason) in [
            (EngineCalls::All, True, "CalledForAll"),
            (EngineCalls::Named, True, "CalledWhenNamed"),
            (EngineCalls::Hook, False, "OnlyHook"),
            (EngineCalls::None, False, "NotCalled"),
            (EngineCalls::Unknown, Unknown, "EngineUnknown"),
        ] {
            let ready = enforcing(calls).readiness();
            assert_eq!((ready.status, ready.reason), (status, reason));
            assert_eq!(status == True, !ready.message.contains("why"));
        }
        let mut off = enforcing(EngineCalls::All);
        off.kernel = Some(KernelStatus::default());
        assert_eq!(off.readiness().reason, "NotEnforcing");
        let mut bare = enforcing(EngineCalls::All);
        bare.engines.clear();
        assert_eq!(bare.readiness().reason, "NoEngine");
        assert_eq!(NodeStatus::default().readiness().status, Unknown);
    }

    #[test]
    fn refused_profiles_are_counted_and_some_are_named() {
        let mut status = NodeStatus::default();
        assert_eq!(status.acceptance().message, "there are no profiles");
        let profile = |n: u32| NodeProfile {
            name: format!("p{n}"),
            state: if n < 12 {
                ProfileState::Refused
            } else {
                ProfileState::Loaded
            },
            reason: None,
        };
        status.set_profiles((0..20).map(profile).collect());
        let verdict = status.acceptance();
        assert_eq!(verdict.status, ConditionStatus::False);
        assert_eq!(
            verdict.message,
            "refused are 12 of 20 profiles: p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, 2 more"
        );
    }

    #[test]
    fn the_time_of_a_condition_changes_with_its_status_only() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut first = enforcing(EngineCalls::All);
        first.judge(None, at(1));
        let mut second = enforcing(EngineCalls::Named);
        second.judge(Some(&first), at(100));
        let ready = second.condition(READY).unwrap();
        assert_eq!(ready.last_transition_time, "1970-01-01T00:00:01Z");
        assert_eq!(ready.reason, "CalledWhenNamed");
        let mut third = enforcing(EngineCalls::None);
        third.judge(Some(&second), at(200));
        let ready = third.condition(READY).unwrap();
        assert_eq!(ready.last_transition_time, "1970-01-01T00:03:20Z");
        let accepted = third.condition(PROFILES_ACCEPTED).unwrap();
        assert_eq!(accepted.last_transition_time, "1970-01-01T00:00:01Z");
        assert_eq!(third.conditions.len(), 2);
    }
}

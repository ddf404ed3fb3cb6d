//! What is counted, in words.

use oci_apparmor::counters::Counter;
use oci_apparmor::error::Kind;

/// What a counter counts.
pub(super) fn describe(event: Counter) -> &'static str {
    match event {
        Counter::Load => "a profile was loaded that the kernel did not have",
        Counter::ReloadDrift => "a loaded profile differed from its source and was replaced",
        Counter::ReloadToolchain => "a profile was replaced after a change of parser or kernel",
        Counter::LoadFailure => "a profile could not be loaded from its source",
        Counter::Compile => "a source was compiled to be loaded",
        Counter::CacheHit => "compiled policy was found in the cache",
        Counter::LabelViolation => "a container ran without its label and was killed",
        Counter::Refusal(kind) => match kind {
            Kind::Usage => "refused: the call cannot be read",
            Kind::NotFound => "refused: the profile, or a runtime, was not found",
            Kind::DoesNotCompile => "refused: the profile does not compile",
            Kind::Policy => "refused by the policy of the node",
            Kind::KernelOff => "refused: AppArmor enforces no profile",
            Kind::Configuration => "refused: the configuration cannot be used",
            Kind::Internal => "refused: the bundle or the system is not as expected",
        },
    }
}

//! The state that hooks read, and annotations: with any engine, a request is a profile that
//! may be named, or refused.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oci_apparmor::request::{self, Caller, RequestedLabel};
use oci_apparmor::bundle::{Annotations, state};

fuzz_target!(|data: &[u8]| {
    let _ = state::parse(data);
    let Ok(annotations) = serde_json::from_slice::<Annotations>(data) else {
        return;
    };
    let caller = Caller {
        id: "c1",
        bundle: Path::new("/run/containerd/io.containerd.runtime.v2.task/k8s.io/c1"),
    };
    for spec in [None, Some("docker-default"), Some("unconfined")] {
        let Ok(request) = request::read(&annotations, spec, caller) else {
            continue;
        };
        if let Some((key, RequestedLabel::Label(label))) = &request.asked {
            // Only the engine can name more than one.
            assert!(label.components().len() <= 1 || key.as_str() == "process.apparmorProfile");
        }
        assert!(request::named_by_sandbox(&request, 16).len() <= 16);
    }
});

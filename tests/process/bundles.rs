//! Bundles that are refused, since they may be read differently or changed meanwhile.

use std::fs::{self, File};

use crate::call::one_line;
use crate::create::ASKS;
use crate::node::{BUNDLE, node};

/// The line that makes a container.
const CREATE: &[&str] = &["create", "--bundle", BUNDLE, "c1"];

#[test]
fn a_bundle_that_runtimes_may_read_differently() {
    let Some(node) = node() else { return };
    for (json, why) in [
        ("", "unexpected JSON"),
        (
            "{\"process\":{},\"annotations\":{\"oci-apparmor/prof",
            "unexpected JSON",
        ),
        ("{}", "it has no field \"process\""),
        (r#"{"process":null}"#, "it has no field \"process\""),
        (r#"{"process":{},"process":{}}"#, "\"process\" twice"),
        (
            r#"{"process":{},"Process":{}}"#,
            "read its key \"Process\" as process",
        ),
        (
            r#"{"process":{"apparmorProfile":"p","APPARMORPROFILE":"q"}}"#,
            "\"APPARMORPROFILE\" as apparmorProfile",
        ),
        (
            r#"{"process":{"apparmorProfile":"p","apparmorProfile":"p"}}"#,
            "twice",
        ),
        (r#"{"process":{"apparmorProfile":1}}"#, "is not a string"),
        (
            r#"{"process":{},"annotations":{"a":"1","a":"1"}}"#,
            "\"a\" twice",
        ),
    ] {
        node.bundle(json);
        let line = node.create_refused(CREATE);
        assert!(
            line.contains("/run/bundle/config.json is refused: "),
            "{line}"
        );
        assert!(line.contains(why), "{line}");
        assert_eq!(node.text("/run/bundle/config.json"), json);
    }
    node.bundle(b"{\"process\":{},\"x\":\"\xff\"}");
    assert!(node.create_refused(CREATE).contains("not UTF-8"));
}

#[test]
fn a_bundle_that_is_not_a_plain_file() {
    let Some(node) = node() else { return };
    const CONFIG: &str = "/run/bundle/config.json";
    let refused = |why: &str| {
        let line = node.create_refused(CREATE);
        assert!(
            line.contains("cannot read /run/bundle/config.json: "),
            "{line}"
        );
        assert!(line.contains(why), "{line}");
    };
    refused("it does not exist");
    node.write("/run/elsewhere", ASKS);
    node.link("/run/elsewhere", CONFIG);
    refused("it is a symbolic link");
    node.remove(CONFIG);
    nix::unistd::mkfifo(&node.path(CONFIG), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused("it is not a regular file");
    node.remove(CONFIG);
    fs::create_dir(node.path(CONFIG)).unwrap();
    refused("it is not a regular file");
    node.remove(CONFIG);
    File::create(node.path(CONFIG))
        .unwrap()
        .set_len((16 << 20) + 1)
        .unwrap();
    refused("it is larger than 16 MiB");
    node.remove(CONFIG);
    node.remove(BUNDLE);
    let outcome = node.call(CREATE).directory("/").outcome();
    assert!(one_line(&outcome.stderr).contains("cannot find the bundle /run/bundle"));
}

//! `oci-apparmor why` where there is nothing to ask, or nothing to ask about. What it answers is in
//! `tests/kernel_profiles/asked_and_tried.rs`: only a kernel can be asked.

use crate::call::Outcome;
use crate::node::{Node, node};

const ACCESS: &str = "/sys/kernel/security/apparmor/.access";

fn why(node: &Node, words: &[&str]) -> Outcome {
    let words = [&["why"], words].concat();
    node.call_program("/run/libexec/oci-apparmor", &words)
        .directory("/")
        .outcome()
}

#[track_caller]
fn refused(node: &Node, words: &[&str], code: i32, said: &str) {
    let outcome = why(node, words);
    assert_eq!(outcome.code, Some(code), "{words:?}: {outcome:?}");
    assert!(outcome.stderr.contains(said), "{words:?}: {outcome:?}");
    assert_eq!(outcome.stdout, "");
}

#[test]
fn nothing_is_answered_where_nothing_can_be_asked() {
    let Some(node) = node() else { return };
    let path = ["--path", "/x"];
    let web = [&["--profile", "web"][..], &path].concat();
    refused(
        &node,
        &web,
        6,
        "no profile can be asked; run: oci-apparmor check",
    );
    node.write(ACCESS, "");
    refused(
        &node,
        &web,
        3,
        "the profile web is not loaded; run: oci-apparmor load web",
    );
    let child = [&["--profile", "web//helper"][..], &path].concat();
    refused(&node, &child, 3, "run: oci-apparmor load web\n");
    // The kernel takes it for unconfined, which allows everything.
    let prefix = [&["--profile", "unconf"][..], &path].concat();
    refused(&node, &prefix, 5, "every prefix of \"unconfined\"");
    let container = [&["--container", "c1"][..], &path].concat();
    refused(
        &node,
        &container,
        3,
        "no container \"c1\" was made through the wrapper",
    );
}

#[test]
fn what_cannot_be_asked_about_is_refused() {
    let Some(node) = node() else { return };
    for (words, said) in [
        (
            &["--capability", "root"][..],
            "\"root\" is not a capability",
        ),
        (
            &["--path", "/x", "--access", "rq"],
            "\"rq\" is not a permission",
        ),
        (&["--network", "inet"], "write both: --network inet,stream"),
        (&["--network", "inet,web"], "\"web\" is not a socket type"),
        (&["--network", "ip,stream"], "\"ip\" is not a socket family"),
        (
            &["--signal", "x\n", "--peer", "a"],
            "\"x\\n\" is not a signal",
        ),
        (
            &["--event", "nothing"],
            "\"nothing\" is not a line of a log",
        ),
        (&["--signal", "term"], "--peer <LABEL>"),
        (&[], "--path <PATH>"),
    ] {
        let words = [&["--profile", "web"], words].concat();
        refused(&node, &words, 2, said);
    }
}

#[test]
fn an_answer_that_is_not_the_kernels_is_no_answer() {
    let Some(node) = node() else { return };
    node.load("web", "enforce");
    // A file that is no kernel's returns what was written into it.
    node.write(ACCESS, "");
    let words = ["--profile", "web", "--no-lines", "--path", "/x"];
    let outcome = why(&node, &words);
    assert_eq!(outcome.code, Some(8), "{outcome:?}");
    assert!(outcome.stdout.contains("/x r: unknown: "), "{outcome:?}");
}

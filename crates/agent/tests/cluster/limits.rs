//! An API server, or an object of it, that sends more than an agent can hold.

use std::time::Duration;

use oci_apparmor_agent::pieces::MAX_OBJECT;
use tokio::time::sleep;

use crate::node::{Node, added, config_map, event, list, listed, profile, resources};
use crate::replay::{End, Route, status};

const OPEN: End = End::Open;
const HOUR: Duration = Duration::from_secs(3_600);

fn large(name: &str, version: u64) -> String {
    profile(name, version, &"x".repeat(MAX_OBJECT))
}

/// A node that has `a`, `big` and `gone` of an earlier time.
fn node() -> Node {
    let node = Node::new().with_files(&["a.yaml", "big.yaml", "gone.yaml"]);
    node.api.then(Route::ConfigMaps, 200, listed(6), OPEN);
    node
}

#[tokio::test(start_paused = true)]
async fn while_an_object_is_too_large_nothing_is_removed_and_the_others_are_written() {
    let all = [
        profile("a", 1, "/a"),
        large("big", 2),
        profile("c", 3, "/c"),
    ];
    let small = event("MODIFIED", &profile("big", 12, "/big"));
    for streamed in [true, false] {
        let node = node();
        let more = event("DELETED", &profile("a", 10, "/a"));
        if streamed {
            let objects: String = all.iter().map(|object| added(object)).collect();
            node.api.then(
                Route::Profiles,
                200,
                objects + &listed(9) + &more,
                End::Closed,
            );
        } else {
            node.api
                .then(Route::Profiles, 422, status(422, "Invalid"), End::Closed);
            node.api
                .then(Route::Profiles, 200, list(9, &all), End::Closed);
            node.api.then(Route::Profiles, 200, more, End::Closed);
        }
        let node = node.start();
        let names = [".complete", "a.yaml", "big.yaml", "c.yaml", "gone.yaml"];
        node.has(&names).await;
        sleep(HOUR).await;
        assert_eq!(node.names(), names);
        assert_eq!(node.files()["big.yaml"], "old");
        assert!(
            node.api
                .asked_for(Route::Profiles)
                .last()
                .unwrap()
                .contains("resourceVersion=10")
        );
        node.api.always(Route::Profiles, 200, &small, OPEN);
        node.has(&[".complete", "big.yaml", "c.yaml"]).await;
        assert!(node.files()["big.yaml"].contains("/big"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_becomes_too_large_keeps_its_file_until_it_is_gone() {
    let node = node();
    let stream =
        added(&profile("big", 1, "/big")) + &listed(9) + &event("MODIFIED", &large("big", 10));
    node.api.then(Route::Profiles, 200, stream, End::Closed);
    node.api.always(Route::Profiles, 200, "", OPEN);
    let node = node.start();
    node.until(|node| node.api.asked_for(Route::Profiles).len() == 2)
        .await;
    sleep(HOUR).await;
    let names = [".complete", "a.yaml", "big.yaml", "gone.yaml"];
    assert_eq!(node.names(), names, "both came before anything was removed");
    assert!(node.files()["big.yaml"].contains("/big"));
    let gone = event("DELETED", &large("big", 11));
    node.api.always(Route::Profiles, 200, &gone, OPEN);
    node.has(&[".complete"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_node_writes_what_it_can_read() {
    let node = Node::new();
    node.api.then(Route::ConfigMaps, 200, listed(6), OPEN);
    let stream = added(&large("big", 1)) + &added(&profile("a", 2, "/a")) + &listed(9);
    node.api.then(Route::Profiles, 200, stream, OPEN);
    let node = node.start();
    sleep(HOUR).await;
    assert_eq!(
        node.names(),
        ["a.yaml"],
        "not complete: a file may be missing"
    );
}

#[tokio::test(start_paused = true)]
async fn answers_without_an_end_are_given_up() {
    let endless = "x".repeat(2 * MAX_OBJECT);
    let whole = added(&profile("a", 1, "/a")) + &listed(9);
    // An error, what a version has, a line of a list, a list, and what is around its objects.
    let page = format!(r#"{{"metadata":{{"resourceVersion":"3"}},"kind":"{endless}"#);
    let object = format!(r#"{{"items":[{{"spec":"{endless}"#);
    for (route, code, body, end) in [
        (Route::V1, 500, endless.clone(), OPEN),
        (Route::V1, 200, endless.clone(), OPEN),
        (Route::Profiles, 500, endless.clone(), End::Closed),
        (Route::Profiles, 200, endless.clone(), OPEN),
        (Route::Profiles, 200, endless.clone() + "\n", OPEN),
        (Route::Profiles, 200, page, End::Closed),
        (Route::Profiles, 200, object, OPEN),
    ] {
        let node = node();
        if body.starts_with('{') {
            node.api
                .then(Route::Profiles, 422, status(422, "Invalid"), End::Closed);
        }
        for _ in 0..3 {
            node.api.then(route, code, body.as_str(), end);
        }
        let node = node.start();
        sleep(Duration::from_secs(30)).await;
        assert_eq!(
            node.names(),
            [".complete", "a.yaml", "big.yaml", "gone.yaml"]
        );
        node.api
            .always(Route::V1, 200, &resources("v1"), End::Closed);
        node.api.always(Route::Profiles, 200, &whole, OPEN);
        if body.starts_with('{') {
            let whole = list(9, &[profile("a", 1, "/a")]);
            node.api.always(Route::Profiles, 200, &whole, End::Closed);
        }
        node.has(&[".complete", "a.yaml"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_line_and_then_nothing_is_continued() {
    let node = node();
    let b = added(&profile("b", 10, "/b"));
    let stream = listed(9) + &b[..b.len() - 5];
    node.api.then(Route::Profiles, 200, stream, OPEN);
    node.api.then(Route::Profiles, 200, b.clone(), OPEN);
    let node = node.start();
    node.has(&[".complete", "b.yaml"]).await;
    let asked = node.api.asked_for(Route::Profiles);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[1].contains("resourceVersion=9"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_after_each_line_is_followed() {
    let node = node();
    node.api.then(Route::Profiles, 200, listed(9), End::Closed);
    for n in 10..20 {
        let line = added(&profile(&format!("p{n}"), n, "/p"));
        node.api.then(Route::Profiles, 200, line, End::Closed);
    }
    node.api.always(Route::Profiles, 200, "", OPEN);
    let node = node.start();
    let mut names = vec![".complete".to_owned()];
    names.extend((10..20).map(|n| format!("p{n}.yaml")));
    node.until(|node| node.names() == names).await;
    // None was asked for twice, and not all at once.
    let asked = node.api.asked();
    let asked: Vec<_> = asked
        .iter()
        .filter(|asked| asked.route == Route::Profiles)
        .collect();
    assert!(asked.len() <= 12, "{asked:#?}");
    let time = asked[10].at.duration_since(asked[0].at);
    assert!(time > Duration::from_secs(60), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn the_api_server_says_when_it_is_asked_again() {
    let node = node();
    node.api.then(
        Route::Profiles,
        429,
        status(429, "TooManyRequests"),
        End::Closed,
    );
    let map = added(&config_map("c", 1, "raw", "x"));
    node.api
        .then(Route::ConfigMaps, 200, map + &listed(6), OPEN);
    let stream = added(&profile("a", 1, "/a")) + &listed(9);
    node.api.then(Route::Profiles, 200, stream, OPEN);
    let node = node.start();
    node.has(&[".complete", "a.yaml"]).await;
    let asked = node.api.asked();
    let asked: Vec<_> = asked
        .iter()
        .filter(|asked| asked.route == Route::Profiles)
        .collect();
    let wait = asked[1].at.duration_since(asked[0].at);
    assert!(wait >= Duration::from_secs(20), "{wait:?}");
}

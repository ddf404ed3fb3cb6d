//! Everything that goes wrong between a node and its cluster.

use std::fs;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::node::{Node, added, config_map, event, list, listed, profile};
use crate::replay::{End, Route, status};

const OPEN: End = End::Open;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A node whose spool has `a` and `b` of an earlier time, and an empty list of ConfigMaps.
fn node() -> Node {
    let node = Node::new().with_files(&["a.yaml", "b.yaml"]);
    node.api.then(Route::ConfigMaps, 200, listed(6), OPEN);
    node
}

fn a_and_b() -> String {
    added(&profile("a", 1, "/a")) + &added(&profile("b", 2, "/b"))
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_cut_removes_nothing() {
    let a = added(&profile("a", 1, "/a"));
    let b = added(&profile("b", 2, "/b"));
    let half = &b[..b.len() / 2];
    let garbage = "{\"type\":\"ADDED\",\"object\":{\"metadata\":7}}\n".to_owned();
    let gone = event("ERROR", &status(410, "Expired"));
    let error = event("ERROR", &status(500, "InternalError"));
    for (body, end) in [
        (a.clone(), End::Closed),
        (a.clone() + half, End::Closed),
        (a.clone() + half, End::Broken),
        (a.clone(), End::Broken),
        (a.clone() + &gone, End::Closed),
        (a.clone() + &error, End::Closed),
        // The end of the list comes, but an object of it was not understood.
        (a.clone() + &garbage + &listed(3), OPEN),
        (a.clone() + &error + &listed(3), OPEN),
    ] {
        let node = node();
        node.api.then(Route::Profiles, 200, body.clone(), end);
        node.api.always(
            Route::Profiles,
            503,
            &status(503, "ServiceUnavailable"),
            End::Closed,
        );
        let node = node.start();
        sleep(Duration::from_secs(1_000)).await;
        assert_eq!(
            node.names(),
            [".complete", "a.yaml", "b.yaml"],
            "{body} {end:?}"
        );
        assert_eq!(node.files()["b.yaml"], "old", "{body} {end:?}");
        let whole = a_and_b() + &listed(9) + &event("DELETED", &profile("a", 10, "/a"));
        node.api.always(Route::Profiles, 200, &whole, OPEN);
        node.has(&[".complete", "b.yaml"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_is_continued_where_it_ended() {
    let c = added(&profile("c", 11, "/c"));
    for (more, end) in [
        (String::new(), End::Closed),
        (c[..c.len() / 2].to_owned(), End::Closed),
        (c[..c.len() / 2].to_owned(), End::Broken),
        (event("ERROR", &status(500, "InternalError")), End::Closed),
        (event("ERROR", &status(429, "TooManyRequests")), End::Broken),
    ] {
        let node = node();
        node.api
            .then(Route::Profiles, 200, a_and_b() + &listed(9) + &more, end);
        node.api.then(Route::Profiles, 200, c.clone(), OPEN);
        let node = node.start();
        node.has(&[".complete", "a.yaml", "b.yaml", "c.yaml"]).await;
        let asked = node.api.asked_for(Route::Profiles);
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert!(asked[1].contains("resourceVersion=9"), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_410_everything_is_listed_again_and_what_is_missing_is_gone() {
    let again = added(&profile("b", 2, "/b")) + &listed(30);
    let gone = event("ERROR", &status(410, "Expired"));
    let node = node();
    node.api.then(
        Route::Profiles,
        200,
        a_and_b() + &listed(9) + &gone,
        End::Closed,
    );
    node.api.then(Route::Profiles, 200, again.clone(), OPEN);
    node.start().has(&[".complete", "b.yaml"]).await;
    // The same, as the answer to a request.
    let node = self::node();
    node.api
        .then(Route::Profiles, 200, a_and_b() + &listed(9), End::Closed);
    node.api
        .then(Route::Profiles, 410, status(410, "Expired"), End::Closed);
    node.api.always(Route::Profiles, 200, &again, OPEN);
    node.start().has(&[".complete", "b.yaml"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_understood_is_not_lost() {
    let garbage = "{\"type\":\"ADDED\",\"object\":{\"metadata\":7}}\n";
    let stream = a_and_b() + &listed(9) + garbage + &added(&profile("d", 12, "/d"));
    let node = node();
    node.api.then(Route::Profiles, 200, stream, OPEN);
    let whole = a_and_b() + &added(&profile("c", 11, "/c")) + &listed(13);
    node.api.then(Route::Profiles, 200, whole, OPEN);
    node.start()
        .has(&[".complete", "a.yaml", "b.yaml", "c.yaml"])
        .await;
}

#[tokio::test(start_paused = true)]
async fn errors_of_all_kinds_are_waited_out() {
    for code in [401, 403, 429, 500, 502, 503, 504] {
        let node = node();
        for _ in 0..5 {
            node.api
                .then(Route::V1, code, status(code, "Away"), End::Closed);
            node.api
                .then(Route::Profiles, code, status(code, "Away"), End::Closed);
        }
        // Not even the error is an object of the API.
        node.api.then(
            Route::Profiles,
            code,
            "<html>bad gateway</html>",
            End::Closed,
        );
        node.api
            .then(Route::Profiles, 200, a_and_b() + &listed(9), OPEN);
        let node = node.start();
        node.until(|node| node.files()["a.yaml"] != "old").await;
        assert_eq!(node.names(), [".complete", "a.yaml", "b.yaml"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_for_days_changes_nothing() {
    let node = node();
    for route in [
        Route::V1,
        Route::V1Alpha1,
        Route::Profiles,
        Route::ConfigMaps,
    ] {
        node.api.always(route, 503, "", End::Broken);
    }
    let node = node.start();
    sleep(3 * DAY).await;
    assert_eq!(node.names(), [".complete", "a.yaml", "b.yaml"]);
    assert_eq!(node.files()["a.yaml"], "old");
    // About two requests in a minute.
    let asked = node.api.asked().len();
    assert!((3_000..3 * 24 * 60 * 4).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_closes_each_watch_at_once_is_not_asked_without_end() {
    let node = node();
    node.api
        .then(Route::Profiles, 200, a_and_b() + &listed(9), End::Closed);
    node.api.always(Route::Profiles, 200, "", End::Closed);
    let start = Instant::now();
    let node = node.start();
    sleep(Duration::from_secs(3_600)).await;
    let asked = node.api.asked();
    assert!(asked.len() <= 610, "{}", asked.len());
    let first = asked
        .iter()
        .filter(|asked| asked.at.duration_since(start).as_secs() < 59);
    assert!(first.count() <= 10);
}

#[tokio::test(start_paused = true)]
async fn a_list_in_pieces_that_breaks_is_begun_again() {
    let node = node();
    node.api
        .then(Route::Profiles, 422, status(422, "Invalid"), End::Closed);
    let first = list(3, &[profile("a", 1, "/a")]);
    let first = first.replace(
        "\"resourceVersion\":\"3\"",
        "\"resourceVersion\":\"3\",\"continue\":\"t\"",
    );
    // The first page, then its continuation has expired.
    node.api.then(Route::Profiles, 200, first, End::Closed);
    node.api
        .then(Route::Profiles, 410, status(410, "Expired"), End::Closed);
    node.api
        .then(Route::Profiles, 422, status(422, "Invalid"), End::Closed);
    node.api.then(
        Route::Profiles,
        200,
        list(9, &[profile("b", 2, "/b")]),
        End::Closed,
    );
    let node = node.start();
    node.has(&[".complete", "b.yaml"]).await;
    let asked = node.api.asked_for(Route::Profiles);
    assert!(asked[2].contains("continue=t"), "{asked:?}");
    assert!(asked[3].contains("sendInitialEvents"), "{asked:?}");
    assert!(!asked[4].contains("continue"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_goes_away_takes_no_file_with_it() {
    let node = node();
    node.api
        .then(Route::Profiles, 200, a_and_b() + &listed(9), End::Closed);
    node.api
        .always(Route::Profiles, 404, &status(404, "NotFound"), End::Closed);
    let node = node.start();
    node.until(|node| node.files()["a.yaml"] != "old").await;
    node.api
        .always(Route::V1, 404, &status(404, "NotFound"), End::Closed);
    sleep(DAY).await;
    assert_eq!(node.names(), [".complete", "a.yaml", "b.yaml"]);
}

#[tokio::test(start_paused = true)]
async fn a_spool_that_cannot_be_written_is_tried_again() {
    let node = Node::new();
    let stream = a_and_b() + &listed(9);
    node.api.then(Route::Profiles, 200, stream, OPEN);
    node.api.then(
        Route::ConfigMaps,
        200,
        added(&config_map("c", 1, "raw", "x")) + &listed(6),
        OPEN,
    );
    let away = node.beside("away");
    fs::rename(&node.spool, &away).unwrap();
    let node = node.start();
    sleep(DAY).await;
    assert!(!node.spool.exists());
    // There, but one file of it cannot be written, as on a full disk.
    fs::create_dir(away.join(".b.yaml.tmp")).unwrap();
    fs::rename(&away, &node.spool).unwrap();
    let has = |name: &str| node.spool.join(name).exists();
    for _ in 0..200 {
        if has("a.yaml") {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert!(has("a.yaml") && !has("b.yaml"));
    assert!(!has(".complete"), "complete without b");
    fs::remove_dir(node.spool.join(".b.yaml.tmp")).unwrap();
    node.has(&[".complete", "a.yaml", "b.yaml", "raw.profile"])
        .await;
    // And no request was made for it.
    assert_eq!(node.api.asked_for(Route::V1).len(), 1);
}

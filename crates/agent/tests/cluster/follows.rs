//! What the agent asks, and what it writes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use oci_apparmor_agent::object::MAX_FILE;
use tokio::time::{Instant, sleep};

use crate::node::{Node, added, config_map, event, list, listed, profile, resources};
use crate::replay::{End, Route, status};

const OPEN: End = End::Open;

#[tokio::test(start_paused = true)]
async fn objects_become_files_and_changes_follow() {
    let node = Node::new();
    let stream = added(&profile("web", 5, "/etc/**"))
        + &listed(6)
        + &event("MODIFIED", &profile("web", 7, "/srv/**"))
        + &added(&profile("db", 8, "/etc/**"));
    node.api.then(Route::Profiles, 200, stream, OPEN);
    let text = r"profile raw { }\n";
    let stream = added(&config_map("c", 5, "usr.bin.raw", text)) + &listed(6);
    node.api.then(Route::ConfigMaps, 200, stream, OPEN);
    let node = node.start();
    let names = [".complete", "db.yaml", "usr.bin.raw.profile", "web.yaml"];
    node.has(&names).await;
    let files = node.files();
    assert_eq!(files["usr.bin.raw.profile"], "profile raw { }\n");
    let web: serde_json::Value = serde_json::from_str(&files["web.yaml"]).unwrap();
    let expected = serde_json::json!({
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": "AppArmorProfile",
        "metadata": { "name": "web" },
        "spec": { "abstract": { "filesystem": { "readOnlyPaths": ["/srv/**"] } } },
    });
    assert_eq!(web, expected);
    let manifests = oci_apparmor_manifest::read(files["web.yaml"].as_bytes()).unwrap();
    let rendered = manifests[0].rendered.as_ref().unwrap();
    assert!(rendered.text.contains("/srv/** r,"), "{}", rendered.text);
    // What it asks: a list as a stream, and of ConfigMaps those with the label.
    let asked = node.api.asked_for(Route::ConfigMaps).join("\n");
    assert!(asked.contains("sendInitialEvents=true"), "{asked}");
    assert!(
        asked.contains("labelSelector=oci-apparmor%2Fprofile%3Dtrue"),
        "{asked}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_goes_with_its_object() {
    let node = Node::new().with_files(&["gone.yaml", "gone.profile", "other"]);
    let web = profile("web", 5, "/etc/**");
    let stream = added(&web) + &listed(6) + &event("DELETED", &web);
    node.api.then(Route::Profiles, 200, stream, OPEN);
    let away = status(503, "ServiceUnavailable");
    node.api.always(Route::ConfigMaps, 503, &away, End::Closed);
    let node = node.start();
    // The profiles are listed, the ConfigMaps are not: nothing is known of names.
    sleep(Duration::from_secs(60)).await;
    assert_eq!(
        node.names(),
        [".complete", "gone.profile", "gone.yaml", "other"]
    );
    node.api.always(Route::ConfigMaps, 200, &listed(9), OPEN);
    node.has(&[".complete", "other"]).await;
}

#[tokio::test(start_paused = true)]
async fn files_that_are_right_are_not_written_again() {
    let lists = |node: &Node| {
        let stream = added(&profile("web", 5, "/etc/**")) + &listed(6);
        node.api.then(Route::Profiles, 200, stream, OPEN);
        node.api.then(Route::ConfigMaps, 200, listed(6), OPEN);
    };
    let node = Node::new();
    lists(&node);
    let mut node = node.start();
    node.has(&[".complete", "web.yaml"]).await;
    let inode = |node: &Node| fs::metadata(node.spool.join("web.yaml")).unwrap().ino();
    let before = inode(&node);
    node.stop().await;
    assert_eq!(
        node.names(),
        [".complete", "web.yaml"],
        "a stop removes nothing"
    );
    lists(&node);
    let node = node.start();
    node.until(|node| node.api.asked_for(Route::ConfigMaps).len() == 2)
        .await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(inode(&node), before);
    // Another program changed it: it is found within ten minutes.
    fs::write(node.spool.join("web.yaml"), "changed").unwrap();
    fs::remove_file(node.spool.join(".complete")).unwrap();
    node.until(|node| node.names() == [".complete", "web.yaml"] && inode(node) != before)
        .await;
    assert_ne!(node.files()["web.yaml"], "changed");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_stream_lists_is_asked_for_lists() {
    let node = Node::new();
    node.api
        .then(Route::Profiles, 422, status(422, "Invalid"), End::Closed);
    let items = [profile("a", 1, "/a"), profile("b", 2, "/b")];
    node.api
        .then(Route::Profiles, 200, list(3, &items), End::Closed);
    node.api
        .then(Route::Profiles, 200, added(&profile("c", 4, "/c")), OPEN);
    node.api.then(Route::ConfigMaps, 200, listed(6), OPEN);
    let node = node.start();
    node.has(&[".complete", "a.yaml", "b.yaml", "c.yaml"]).await;
    let asked = node.api.asked_for(Route::Profiles);
    assert!(asked[1].contains("resourceVersion=0"), "{asked:?}");
    assert!(asked[2].contains("resourceVersion=3"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_mark_the_end_of_a_list_is_asked_for_lists() {
    let node = Node::new().with_files(&["kept.yaml"]);
    // It does not know the parameter, and never sends the bookmark.
    for _ in 0..2 {
        let stream = added(&profile("a", 1, "/a"));
        node.api.then(Route::Profiles, 200, stream, End::Closed);
    }
    let items = [profile("a", 1, "/a"), profile("kept", 2, "/b")];
    node.api
        .then(Route::Profiles, 200, list(3, &items), End::Closed);
    node.api.then(Route::ConfigMaps, 200, listed(6), OPEN);
    let node = node.start();
    node.has(&[".complete", "a.yaml", "kept.yaml"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_older_version_is_read_where_the_newer_one_is_not_served() {
    let node = Node::without_kind();
    node.api
        .always(Route::V1Alpha1, 200, &resources("v1alpha1"), End::Closed);
    let web = profile("web", 5, "/etc/**").replace("k8s.io/v1\"", "k8s.io/v1alpha1\"");
    node.api
        .then(Route::Profiles, 200, added(&web) + &listed(6), OPEN);
    node.api.then(Route::ConfigMaps, 200, listed(6), OPEN);
    let node = node.start();
    node.has(&[".complete", "web.yaml"]).await;
    let text = &node.files()["web.yaml"];
    assert!(text.contains("k8s.io/v1alpha1\""), "{text}");
    let asked = node.api.asked_for(Route::Profiles);
    assert!(asked[0].contains("/v1alpha1/apparmorprofiles"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn without_the_crd_config_maps_are_written_and_manifests_stay() {
    let node = Node::without_kind().with_files(&["web.yaml", "gone.profile"]);
    let stream = added(&config_map("c", 5, "raw", "x")) + &listed(6);
    node.api.then(Route::ConfigMaps, 200, stream, OPEN);
    let node = node.start();
    node.has(&[".complete", "raw.profile", "web.yaml"]).await;
    // The CRD is installed: found within ten minutes.
    node.api
        .always(Route::V1, 200, &resources("v1"), End::Closed);
    let stream = added(&profile("new", 5, "/etc/**")) + &listed(6);
    node.api.then(Route::Profiles, 200, stream, OPEN);
    node.has(&[".complete", "new.yaml", "raw.profile"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_agent_asks_for_nothing_but_its_watches() {
    let node = Node::new();
    node.api.then(Route::Profiles, 200, listed(6), OPEN);
    node.api.then(Route::ConfigMaps, 200, listed(6), OPEN);
    let node = node.start();
    node.has(&[".complete"]).await;
    let start = Instant::now();
    sleep(Duration::from_secs(600)).await;
    let asked = node
        .api
        .asked()
        .into_iter()
        .filter(|asked| asked.at > start);
    let asked: Vec<String> = asked.map(|asked| asked.uri).collect();
    // A watch lasts 295 seconds where the server does not end it.
    assert!(asked.len() <= 6, "{asked:#?}");
    for uri in &asked {
        assert!(
            uri.contains("watch=true") && uri.contains("resourceVersion=6"),
            "{uri}"
        );
        assert!(!uri.contains("sendInitialEvents"), "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_left_out_comes_when_there_is_room() {
    // 32 files of the largest size are all that fits; the first object is the oldest.
    let text = "x".repeat(MAX_FILE);
    let name = |n: usize| format!("c{n:02}");
    let map = |n: usize| config_map(&name(n), 5, &name(n), &text);
    let all: String = (0..33).map(|n| added(&map(n))).collect();
    let node = Node::new();
    node.api.then(Route::Profiles, 200, listed(6), OPEN);
    let stream = all + &listed(6) + &event("DELETED", &map(0));
    node.api.then(Route::ConfigMaps, 200, stream, OPEN);
    let now: String = (1..33).map(|n| added(&map(n))).collect();
    node.api.always(Route::Profiles, 200, &listed(8), OPEN);
    node.api
        .always(Route::ConfigMaps, 200, &(now + &listed(8)), OPEN);
    let node = node.start();
    let mut names = vec![".complete".to_owned()];
    names.extend((1..33).map(|n| format!("{}.profile", name(n))));
    node.until(|node| node.names() == names).await;
}

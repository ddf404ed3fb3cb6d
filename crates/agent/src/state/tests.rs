use serde_json::json;

use super::*;

fn config_map(number: i64, bytes: usize) -> ApiObject {
    let id = ObjectId {
        feed: Feed::ConfigMaps,
        namespace: "n".to_owned(),
        name: format!("c{number}"),
    };
    let name = format!("p{number}");
    ApiObject::config_map(id, number, &json!({ "data": { name: "x".repeat(bytes) } }))
}

#[test]
fn a_flood_of_young_objects_displaces_no_older_one_and_takes_no_memory() {
    let mut state = ApiState::new(&[Feed::ConfigMaps], BOUNDS);
    state.apply(ApiChange::ListStarted(Feed::ConfigMaps));
    for number in 1..=2 * BOUNDS.files as i64 {
        state.apply(ApiChange::Listed(config_map(number, 1)));
    }
    state.apply(ApiChange::ListDone(Feed::ConfigMaps));
    assert_eq!(state.files().len(), BOUNDS.files);
    assert!(state.files().contains_key("p1"));
    assert_eq!(state.objects.len(), BOUNDS.files);
    let first_left_out = state.left_out().unwrap().name.clone();
    assert_eq!(first_left_out, format!("c{}", BOUNDS.files + 1));
    // As long as nothing makes room, it is not listed again.
    assert!(!state.needs_list());
    state.apply(ApiChange::Applied(config_map(5, 1)));
    assert!(!state.needs_list());
    state.apply(ApiChange::Deleted(config_map(5, 1).id));
    assert!(state.needs_list() && !state.is_settled());
}

#[test]
fn the_size_of_all_is_limited() {
    let mut state = ApiState::new(&[Feed::ConfigMaps], BOUNDS);
    for number in 1..=40 {
        state.apply(ApiChange::Applied(config_map(number, 512 * 1024)));
    }
    assert_eq!(state.files().len(), 32);
    assert_eq!(state.bytes, BOUNDS.bytes);
}

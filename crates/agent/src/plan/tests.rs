//! Random histories of an API: lists and watches that are cut, repeated and done again.
#![allow(clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::object::{ApiObject, ObjectId};
use crate::state::{ApiChange, Bounds};

/// Small, so that random histories exceed them.
const SMALL: Bounds = Bounds {
    files: 6,
    bytes: 60,
};

const FEEDS: [Feed; 2] = [Feed::Profiles, Feed::ConfigMaps];

/// What happens to an object of the API: its new text, or nothing where it is deleted.
#[derive(Debug, Clone)]
struct Happening {
    object: usize,
    entry: usize,
    length: Option<usize>,
}

#[derive(Debug, Clone)]
enum Moment {
    Api(Happening),
    /// The watch of this feed hands on what happened since.
    Hear(usize),
    /// The same event comes twice.
    Repeat(usize),
    /// The stream is cut after so many events of a list of this feed, and listed again later.
    CutList(usize, usize),
    List(usize),
    /// The agent is killed: it knows nothing any more, and finds the spool.
    Restart,
    /// The kind is not served for a while.
    Absent,
    /// Only some of the steps can be done.
    Full(usize),
    /// An object becomes larger than what is read.
    Grow(usize),
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let happening = (
        0..8usize,
        0..3usize,
        proptest::option::weighted(0.75, 0..30usize),
    );
    let happening = happening.prop_map(|(object, entry, length)| {
        Moment::Api(Happening {
            object,
            entry,
            length,
        })
    });
    let moment = prop_oneof![
        6 => happening,
        4 => (0..2usize).prop_map(Moment::Hear),
        1 => (0..2usize).prop_map(Moment::Repeat),
        1 => (0..2usize, 0..6usize).prop_map(|(feed, events)| Moment::CutList(feed, events)),
        1 => (0..2usize).prop_map(Moment::List),
        1 => Just(Moment::Restart),
        1 => Just(Moment::Absent),
        1 => (0..3usize).prop_map(Moment::Full),
        1 => (0..8usize).prop_map(Moment::Grow),
    ];
    proptest::collection::vec(moment, 1..60)
}

fn feed_of(object: usize) -> Feed {
    FEEDS[object % 2]
}

fn id(object: usize) -> ObjectId {
    ObjectId {
        feed: feed_of(object),
        namespace: String::new(),
        // Names of profiles and of entries are the same, so that they contend.
        name: format!("p{}", object / 2),
    }
}

fn object(number: usize, created: i64, entry: usize, length: usize) -> ApiObject {
    let text = "x".repeat(length);
    match feed_of(number) {
        Feed::Profiles => {
            let mut object = ApiObject::profile(id(number), created, "v1", json!({}));
            let bytes = text.as_bytes();
            for file in &mut object.files {
                file.bytes = bytes.into();
                file.digest = crate::object::digest(bytes);
            }
            object
        }
        Feed::ConfigMaps => {
            let mut entries = serde_json::Map::new();
            entries.insert(format!("p{entry}"), json!(text));
            entries.insert(format!("p{}", entry + 1), json!("y"));
            ApiObject::config_map(id(number), created, &json!({ "data": entries }))
        }
    }
}

/// An API, an agent and a spool.
#[derive(Debug)]
struct World {
    /// What the API has.
    api: BTreeMap<usize, ApiObject>,
    /// What its watches have not handed on yet.
    pending: BTreeMap<Feed, Vec<ApiChange>>,
    last: BTreeMap<Feed, ApiChange>,
    clock: i64,
    state: ApiState,
    spool: SpoolView,
    texts: BTreeMap<SpoolFile, Vec<u8>>,
    removed_at: Option<String>,
    /// Objects of the API that are too large.
    large: BTreeSet<usize>,
    /// Those that the agent knows to be.
    known_large: BTreeSet<ObjectId>,
}

impl World {
    fn new() -> Self {
        Self {
            api: BTreeMap::new(),
            pending: BTreeMap::new(),
            last: BTreeMap::new(),
            clock: 0,
            state: ApiState::new(&FEEDS, SMALL),
            spool: SpoolView::default(),
            texts: BTreeMap::new(),
            removed_at: None,
            large: BTreeSet::new(),
            known_large: BTreeSet::new(),
        }
    }

    fn apply(&mut self, change: ApiChange) {
        match &change {
            ApiChange::TooLarge(id) => drop(self.known_large.insert(id.clone())),
            ApiChange::Applied(object) | ApiChange::Listed(object) => {
                self.known_large.remove(&object.id);
            }
            ApiChange::Deleted(id) => drop(self.known_large.remove(id)),
            _ => {}
        }
        self.state.apply(change);
    }

    fn happen(&mut self, happening: &Happening) {
        let number = happening.object;
        let change = match happening.length {
            Some(length) => {
                let created = self.api.get(&number).map(|object| object.created);
                self.clock += 1;
                let created = created.unwrap_or(self.clock / 3);
                let object = object(number, created, happening.entry, length);
                self.api.insert(number, object.clone());
                self.large.remove(&number);
                ApiChange::Applied(object)
            }
            None if self.api.remove(&number).is_some() => {
                self.large.remove(&number);
                ApiChange::Deleted(id(number))
            }
            None => return,
        };
        self.pending
            .entry(feed_of(number))
            .or_default()
            .push(change);
    }

    /// A list has what the API has now; `cut` is after how many of its objects it ends.
    fn list(&mut self, feed: Feed, cut: Option<usize>) {
        self.state.apply(ApiChange::ListStarted(feed));
        self.steps(usize::MAX);
        let objects = self.api.iter().filter(|(_, object)| object.id.feed == feed);
        let change = |(number, object): (&usize, &ApiObject)| match self.large.contains(number) {
            true => ApiChange::TooLarge(object.id.clone()),
            false => ApiChange::Listed(object.clone()),
        };
        let changes: Vec<ApiChange> = objects.map(change).collect();
        for change in changes.into_iter().take(cut.unwrap_or(usize::MAX)) {
            self.apply(change);
            self.steps(usize::MAX);
        }
        if cut.is_none() {
            let large = &self.large;
            self.known_large
                .retain(|known| known.feed != feed || large.iter().any(|n| id(*n) == *known));
            self.pending.remove(&feed);
            self.last.remove(&feed);
            self.state.apply(ApiChange::ListDone(feed));
            self.steps(usize::MAX);
        }
    }

    fn steps(&mut self, most: usize) {
        let settled = self.state.is_settled();
        for step in plan(&self.state, &self.spool).into_iter().take(most) {
            match step {
                SpoolStep::Write(file) => {
                    self.spool
                        .files
                        .insert(file.file.clone(), Some(file.digest));
                    self.texts.insert(file.file, file.bytes.to_vec());
                }
                SpoolStep::Remove(file) => {
                    if !settled || !self.known_large.is_empty() {
                        self.removed_at = Some(file.file_name());
                    }
                    self.spool.files.remove(&file);
                    self.texts.remove(&file);
                }
                SpoolStep::MarkComplete => {
                    assert!(settled, "complete before all was listed");
                    self.spool.complete = true;
                }
            }
        }
    }

    fn live(&mut self, moment: &Moment) {
        match moment {
            Moment::Api(happening) => self.happen(happening),
            Moment::Hear(feed) => {
                let feed = FEEDS[*feed];
                // Before its first list, a watch says nothing.
                if self.state.is_served(feed) {
                    for change in self.pending.remove(&feed).unwrap_or_default() {
                        self.last.insert(feed, change.clone());
                        self.apply(change);
                        self.steps(usize::MAX);
                    }
                }
            }
            Moment::Repeat(feed) => {
                if let Some(change) = self.last.get(&FEEDS[*feed]).cloned() {
                    self.apply(change);
                    self.steps(usize::MAX);
                }
            }
            Moment::CutList(feed, events) => self.list(FEEDS[*feed], Some(*events)),
            Moment::List(feed) => self.list(FEEDS[*feed], None),
            Moment::Restart => {
                self.state = ApiState::new(&FEEDS, SMALL);
                self.last.clear();
                self.known_large.clear();
            }
            Moment::Grow(number) => {
                if self.api.contains_key(number) && self.large.insert(*number) {
                    let change = ApiChange::TooLarge(id(*number));
                    let pending = self.pending.entry(feed_of(*number));
                    pending.or_default().push(change);
                }
            }
            Moment::Absent => {
                let before = self
                    .texts
                    .keys()
                    .filter(|f| f.content() == Feed::Profiles.content());
                let before: Vec<SpoolFile> = before.cloned().collect();
                self.state.apply(ApiChange::NotServed(Feed::Profiles));
                self.steps(usize::MAX);
                for file in before {
                    assert!(
                        self.texts.contains_key(&file),
                        "removed while it is not served"
                    );
                }
            }
            Moment::Full(most) => self.steps(*most),
        }
        assert_eq!(
            self.removed_at, None,
            "removed while the state is not whole"
        );
    }

    /// The API is there again, and nothing more happens.
    fn settle(&mut self) {
        // As long as there are objects that were not read, files may be left over.
        self.large.clear();
        for feed in FEEDS {
            self.list(feed, None);
        }
        for _ in 0..4 {
            if self.state.needs_list() {
                self.state.list_again();
                for feed in FEEDS {
                    self.list(feed, None);
                }
            }
        }
        assert!(!self.state.needs_list(), "lists without end");
    }

    /// What the spool must have, from the API alone.
    fn expected(&self) -> BTreeMap<SpoolFile, Vec<u8>> {
        let mut objects: Vec<&ApiObject> = self.api.values().collect();
        objects.sort_by_key(|object| (object.created, object.id.clone()));
        let (mut files, mut bytes) = (0, 0);
        let mut expected: BTreeMap<String, (SpoolFile, Vec<u8>)> = BTreeMap::new();
        for object in objects {
            files += object.files.len();
            bytes += object.size();
            if files > SMALL.files || bytes > SMALL.bytes {
                break;
            }
            for file in &object.files {
                let name = file.file.name().to_owned();
                let entry = (file.file.clone(), file.bytes.to_vec());
                expected.entry(name).or_insert(entry);
            }
        }
        expected.into_values().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_spool_becomes_what_the_api_has(history in moments()) {
        let mut world = World::new();
        for moment in &history {
            world.live(moment);
        }
        world.settle();
        prop_assert_eq!(&world.texts, &world.expected());
        prop_assert!(world.spool.complete);
        // Nothing is left to do: files that are right are not written again.
        prop_assert_eq!(plan(&world.state, &world.spool), vec![]);
    }
}

#[test]
fn before_both_kinds_are_known_nothing_is_touched() {
    let mut world = World::new();
    let old = SpoolFile::new("old", crate::file::Content::Manifest).unwrap();
    world.spool.files.insert(old, None);
    world.happen(&Happening {
        object: 0,
        entry: 0,
        length: Some(3),
    });
    world.list(Feed::Profiles, None);
    assert_eq!(plan(&world.state, &world.spool), vec![]);
    world.list(Feed::ConfigMaps, None);
    let names: Vec<String> = world.spool.files.keys().map(SpoolFile::file_name).collect();
    assert_eq!(names, ["p0.yaml"]);
}

#[test]
fn a_younger_object_does_not_get_the_name_of_an_older_one() {
    let mut world = World::new();
    // Objects 1 (a ConfigMap) and 0 (a profile) both have "p0"; 1 is older.
    world.clock = 3;
    world.happen(&Happening {
        object: 1,
        entry: 0,
        length: Some(5),
    });
    world.clock = 9;
    world.happen(&Happening {
        object: 0,
        entry: 0,
        length: Some(3),
    });
    world.settle();
    let names: Vec<String> = world.texts.keys().map(SpoolFile::file_name).collect();
    assert_eq!(names, ["p0.profile", "p1.profile"]);
    let rejections = world.state.rejections();
    assert_eq!(rejections.len(), 1);
    let (rejected, entry, why) = &rejections[0];
    assert_eq!((*rejected, *entry), (&id(0), "p0"));
    assert_eq!(
        why.to_string(),
        "the older ConfigMap p0 has a profile of the same name"
    );
    // The older one is deleted: the younger one has the name.
    world.happen(&Happening {
        object: 1,
        entry: 0,
        length: None,
    });
    world.live(&Moment::Hear(1));
    let names: Vec<String> = world.texts.keys().map(SpoolFile::file_name).collect();
    assert_eq!(names, ["p0.yaml"]);
}

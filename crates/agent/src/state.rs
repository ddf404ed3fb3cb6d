//! What the API has, folded from its events. Pure.
//!
//! At any time, the objects that are kept are the oldest ones of the API that fit the bounds: which
//! ones does not depend on the order of events, and new objects cannot displace older ones. Where
//! an object was left out and there may be room for it again, the API has to be listed again
//! ([`ApiState::needs_list`]): its content was not kept.

use std::collections::BTreeMap;

use crate::object::{ApiObject, Feed, ObjectFile, ObjectId, RejectReason};

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Files.
    pub files: usize,
    /// Bytes in all files.
    pub bytes: usize,
}

/// Four times the 1,000 profiles of 4 KB that a large cluster has, in bytes; twice in number.
pub const BOUNDS: Bounds = Bounds {
    files: 2_000,
    bytes: 16 * 1024 * 1024,
};

/// What is learnt from the API.
#[derive(Debug, Clone)]
pub enum ApiChange {
    /// A list begins.
    ListStarted(Feed),
    /// An object of the list.
    Listed(ApiObject),
    /// The list is whole: what was not in it is gone.
    ListDone(Feed),
    /// The API does not have this kind of objects.
    NotServed(Feed),
    /// An object is new or changed.
    Applied(ApiObject),
    /// An object is gone.
    Deleted(ObjectId),
    /// There is an object that is too large to be read.
    TooLarge(ObjectId),
}

/// The most objects of which is remembered that they are too large.
const MAX_LARGE: usize = 1_000;

/// The order of objects: the oldest comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seniority {
    created: i64,
    id: ObjectId,
}

#[derive(Debug)]
struct Held {
    object: ApiObject,
    /// Whether the list that is in progress had it.
    listed: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct FeedState {
    /// Whether a list was whole once, or the kind is not served.
    known: bool,
    /// Whether a list is in progress.
    listing: bool,
    served: bool,
}

/// What the API has.
#[derive(Debug)]
pub struct ApiState {
    bounds: Bounds,
    feeds: BTreeMap<Feed, FeedState>,
    objects: BTreeMap<Seniority, Held>,
    created: BTreeMap<ObjectId, i64>,
    files: usize,
    bytes: usize,
    /// The oldest object that was left out; all younger ones are, too.
    left_out: Option<Seniority>,
    /// Whether the last list of its kind had it.
    left_out_listed: bool,
    /// Whether there may be room for it.
    room: bool,
    /// Objects that are too large, and whether the list that is in progress had them. What they stand
    /// for is not known, so nothing is removed.
    large: BTreeMap<ObjectId, bool>,
}

impl ApiState {
    /// Before anything is known of these feeds.
    #[must_use]
    pub fn new(feeds: &[Feed], bounds: Bounds) -> Self {
        let feeds = feeds.iter().map(|feed| (*feed, FeedState::default()));
        Self {
            bounds,
            feeds: feeds.collect(),
            objects: BTreeMap::new(),
            created: BTreeMap::new(),
            files: 0,
            bytes: 0,
            left_out: None,
            left_out_listed: false,
            room: false,
            large: BTreeMap::new(),
        }
    }

    /// Takes in what was learnt.
    pub fn apply(&mut self, change: ApiChange) {
        match change {
            ApiChange::ListStarted(feed) => {
                for held in self.objects.values_mut() {
                    held.listed &= held.object.id.feed != feed;
                }
                for (id, listed) in &mut self.large {
                    *listed &= id.feed != feed;
                }
                self.left_out_listed &= !self.is_left_out(feed);
                self.feed(feed, |state| state.listing = true);
            }
            ApiChange::Listed(object) | ApiChange::Applied(object) => {
                self.forget_large(&object.id);
                self.insert(object);
            }
            ApiChange::TooLarge(id) => self.insert_large(id),
            ApiChange::ListDone(feed) => {
                let gone = |held: &&Held| held.object.id.feed == feed && !held.listed;
                let gone = self.objects.values().filter(gone);
                let gone: Vec<ObjectId> = gone.map(|held| held.object.id.clone()).collect();
                for id in gone {
                    self.remove(&id);
                    self.made_room();
                }
                self.large.retain(|id, listed| *listed || id.feed != feed);
                self.room |= self.is_left_out(feed) && !self.left_out_listed;
                self.feed(feed, |state| {
                    *state = FeedState {
                        known: true,
                        listing: false,
                        served: true,
                    };
                });
            }
            ApiChange::NotServed(feed) => self.feed(feed, |state| {
                *state = FeedState {
                    known: true,
                    listing: false,
                    served: false,
                };
            }),
            ApiChange::Deleted(id) => {
                self.forget_large(&id);
                self.remove(&id);
                self.made_room();
            }
        }
    }

    /// What was known of it before stays.
    fn insert_large(&mut self, id: ObjectId) {
        let created = self.created.get(&id).copied();
        let held = created.and_then(|created| {
            let id = id.clone();
            self.objects.get_mut(&Seniority { created, id })
        });
        if let Some(held) = held {
            held.listed = true;
        }
        if self.large.len() < MAX_LARGE || self.large.contains_key(&id) {
            self.large.insert(id, true);
        }
    }

    fn forget_large(&mut self, id: &ObjectId) {
        let was_full = self.large.len() >= MAX_LARGE;
        // Others may not have been remembered.
        self.room |= self.large.remove(id).is_some() && was_full;
    }

    fn feed(&mut self, feed: Feed, change: impl FnOnce(&mut FeedState)) {
        if let Some(state) = self.feeds.get_mut(&feed) {
            change(state);
        }
    }

    /// Whether the oldest object that was left out is of this kind.
    fn is_left_out(&self, feed: Feed) -> bool {
        self.left_out().is_some_and(|id| id.feed == feed)
    }

    /// Also where an object is gone that was left out: it may have been the one that did not fit.
    fn made_room(&mut self) {
        self.room |= self.left_out.is_some();
    }

    fn insert(&mut self, object: ApiObject) {
        let (files, bytes) = (self.files, self.bytes);
        self.remove(&object.id);
        let seniority = Seniority {
            created: object.created,
            id: object.id.clone(),
        };
        if let Some(left_out) = &self.left_out
            && seniority >= *left_out
        {
            // It may be smaller now.
            let same = seniority == *left_out;
            self.room |= same || self.files < files;
            self.left_out_listed |= same;
            return;
        }
        self.files = self.files.saturating_add(object.files.len());
        self.bytes = self.bytes.saturating_add(object.size());
        self.created.insert(object.id.clone(), object.created);
        if self.files < files || self.bytes < bytes {
            self.made_room();
        }
        let listed = true;
        self.objects.insert(seniority, Held { object, listed });
        while self.files > self.bounds.files || self.bytes > self.bounds.bytes {
            let Some((youngest, held)) = self.objects.pop_last() else {
                break;
            };
            self.forget(&held.object);
            self.left_out = Some(youngest);
            self.left_out_listed = held.listed;
        }
    }

    fn remove(&mut self, id: &ObjectId) {
        let Some(created) = self.created.get(id).copied() else {
            return;
        };
        let id = id.clone();
        if let Some(held) = self.objects.remove(&Seniority { created, id }) {
            self.forget(&held.object);
        }
    }

    fn forget(&mut self, object: &ApiObject) {
        self.created.remove(&object.id);
        self.files = self.files.saturating_sub(object.files.len());
        self.bytes = self.bytes.saturating_sub(object.size());
    }

    /// Whether the API must be listed again, because objects were left out that may have room now.
    #[must_use]
    pub fn needs_list(&self) -> bool {
        self.room
    }

    /// All feeds are about to be listed again.
    pub fn list_again(&mut self) {
        self.left_out = None;
        self.room = false;
        for state in self.feeds.values_mut() {
            state.listing = true;
        }
    }

    /// Whether all feeds were listed once. Before, it is not known which object has a name.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.feeds.values().all(|state| state.known)
    }

    /// Whether what is not there is gone.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let listing = self.feeds.values().any(|state| state.listing);
        self.is_known() && !self.room && !listing && self.large.is_empty()
    }

    /// Whether the API has this kind of objects, as far as it is known.
    #[must_use]
    pub fn is_served(&self, feed: Feed) -> bool {
        self.feeds.get(&feed).is_some_and(|state| state.served)
    }

    /// The oldest object that does not fit the bounds; no younger one is kept either.
    #[must_use]
    pub fn left_out(&self) -> Option<&ObjectId> {
        self.left_out.as_ref().map(|seniority| &seniority.id)
    }

    /// The files that the spool must have, by the names of the profiles: of several objects with
    /// one name, the oldest has it.
    #[must_use]
    pub fn files(&self) -> BTreeMap<&str, &ObjectFile> {
        let mut files = BTreeMap::new();
        self.each_file(|_, file| {
            files.entry(file.file.name()).or_insert(file);
        });
        files
    }

    /// What is not written, and why: the object, its entry, the reason.
    #[must_use]
    pub fn rejections(&self) -> Vec<(&ObjectId, &str, RejectReason)> {
        let mut all = Vec::new();
        let mut owners: BTreeMap<&str, &ObjectId> = BTreeMap::new();
        self.each_file(|id, file| {
            let name = file.file.name();
            let owner = *owners.entry(name).or_insert(id);
            if owner != id {
                all.push((id, name, RejectReason::NameTaken(owner.clone())));
            }
        });
        for Held { object, .. } in self.objects.values() {
            let rejects = object.rejects.iter();
            all.extend(rejects.map(|(name, why)| (&object.id, name.as_str(), why.clone())));
        }
        let large = self.large.keys();
        all.extend(large.map(|id| (id, id.name.as_str(), RejectReason::ObjectTooLarge)));
        all
    }

    fn each_file<'s>(&'s self, mut each: impl FnMut(&'s ObjectId, &'s ObjectFile)) {
        for Held { object, .. } in self.objects.values() {
            for file in &object.files {
                each(&object.id, file);
            }
        }
    }
}

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::ConfigMap;
use proptest::prelude::*;
use serde_json::{from_value, json};

use super::*;
use crate::cache::objects::version;

type Map = ConfigMap;

fn object(name: &str, uid: &str, version: u64) -> Map {
    let version = version.to_string();
    from_value(json!({"metadata": {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": version}})).unwrap()
}

/// An object as the rules of a cache would pass it, found in the index by the values `terms`.
fn indexed(name: &str, uid: &str, version: u64, terms: &[&str]) -> Seen<Map> {
    let terms = terms.iter().map(|term| (*term).to_owned()).collect();
    Seen::Kept(Item::new(object(name, uid, version), Some(version), vec![terms]))
}

fn seen(name: &str, uid: &str, version: u64) -> Seen<Map> {
    indexed(name, uid, version, &[])
}

fn unreadable(uid: &str) -> Seen<Map> {
    Seen::Unreadable { uid: uid.into(), error: "broken".into() }
}

fn key(name: &str) -> Key {
    Key::namespaced("ns", name)
}

/// Lists `objects` (name, uid, version) from beginning to end.
fn list(store: &mut Store<Map>, objects: &[(&str, &str, u64)]) -> Vec<String> {
    store.list_begins();
    for (name, uid, version) in objects {
        store.listed(key(name), seen(name, uid, *version));
    }
    told(&store.list_ends())
}

fn filled(objects: &[(&str, &str, u64)]) -> Store<Map> {
    let mut store = Store::new(1);
    list(&mut store, objects);
    store
}

fn show(object: Option<&Arc<Map>>) -> String {
    object.map_or("-".into(), |object| {
        let meta = &object.metadata;
        format!("{}@{}", meta.name.clone().unwrap(), meta.resource_version.clone().unwrap())
    })
}

/// Changes as `old>new`, each `name@version`, or `-` for nothing.
fn told(changes: &[Change<Map>]) -> Vec<String> {
    changes.iter().map(|change| format!("{}>{}", show(change.old.as_ref()), show(change.new.as_ref()))).collect()
}

fn contents(store: &Store<Map>) -> Vec<String> {
    store.objects().list().iter().map(|object| show(Some(object))).collect()
}

#[test]
fn a_list_is_told_when_it_is_complete_in_the_order_of_keys() {
    let mut store = Store::new(1);
    store.list_begins();
    store.listed(key("b"), seen("b", "u2", 2));
    store.listed(key("a"), seen("a", "u1", 3));
    assert!(contents(&store).is_empty());
    assert_eq!(told(&store.list_ends()), ["->a@3", "->b@2"]);
    assert_eq!(contents(&store), ["a@3", "b@2"]);
}

#[test]
fn a_second_list_tells_only_what_has_changed() {
    let mut store = filled(&[("a", "u1", 1), ("b", "u2", 2), ("c", "u3", 3)]);
    let changes = list(&mut store, &[("a", "u1", 1), ("c", "u3", 5), ("d", "u4", 6)]);
    assert_eq!(changes, ["b@2>-", "c@3>c@5", "->d@6"]);
}

#[test]
fn our_own_write_is_seen_at_once_and_told_once() {
    let mut store = filled(&[("a", "u1", 1)]);
    assert_eq!(told(&store.wrote(&key("a"), seen("a", "u1", 5))), ["a@1>a@5"]);
    assert!(store.applied(&key("a"), seen("a", "u1", 3)).is_empty(), "an older event");
    assert!(store.applied(&key("a"), seen("a", "u1", 5)).is_empty(), "the event of the write itself");
    assert_eq!(told(&store.applied(&key("a"), seen("a", "u1", 6))), ["a@5>a@6"]);
}

#[test]
fn the_answer_to_a_write_that_the_watch_has_passed_tells_nothing() {
    let mut store = filled(&[]);
    store.applied(&key("a"), seen("a", "u1", 5));
    store.removed(&key("a"), "u1", Some(6));
    assert!(store.wrote(&key("a"), seen("a", "u1", 5)).is_empty());
    assert!(contents(&store).is_empty());
}

#[test]
fn what_we_deleted_stays_away_until_the_watch_knows() {
    let mut store = filled(&[("a", "u1", 1)]);
    assert_eq!(told(&store.deleted(&key("a"), "u1")), ["a@1>-"]);
    assert!(store.applied(&key("a"), seen("a", "u1", 2)).is_empty());
    assert!(store.wrote(&key("a"), seen("a", "u1", 3)).is_empty());
    assert!(store.removed(&key("a"), "u1", Some(4)).is_empty());
    assert!(!store.tombstones.covers(&key("a"), "u1", None));
}

#[test]
fn a_successor_of_the_same_name_is_another_object() {
    let mut store = filled(&[("a", "u1", 1)]);
    store.deleted(&key("a"), "u1");
    assert_eq!(told(&store.wrote(&key("a"), seen("a", "u2", 3))), ["->a@3"]);
    assert!(store.deleted(&key("a"), "u1").is_empty());
    assert!(store.removed(&key("a"), "u1", Some(2)).is_empty());
    assert_eq!(contents(&store), ["a@3"]);
}

#[test]
fn a_deletion_is_forgotten_by_a_list_made_after_it_and_not_by_one_made_before() {
    let mut store = filled(&[("a", "u1", 1), ("b", "u2", 2)]);
    store.deleted(&key("a"), "u1");
    store.list_begins();
    store.listed(key("b"), seen("b", "u2", 2));
    store.deleted(&key("b"), "u2");
    assert!(store.list_ends().is_empty());
    assert!(contents(&store).is_empty(), "the list was made before `b` was deleted");
    assert!(!store.tombstones.covers(&key("a"), "u1", None));
    assert!(store.tombstones.covers(&key("b"), "u2", None));
}

#[test]
fn a_write_during_a_list_that_lacks_it_stays_until_the_watch_decides() {
    for (events, left) in [
        (vec![], vec!["new@9", "old@1"]),
        // The list was made before the write: the watch shows it.
        (vec![("new", 9), ("old", 10)], vec!["new@9", "old@10"]),
        // The object was deleted before the list was made: the watch goes on without it.
        (vec![("old", 10)], vec!["old@10"]),
    ] {
        let mut store = filled(&[("old", "u1", 1)]);
        store.list_begins();
        store.wrote(&key("new"), seen("new", "u2", 9));
        store.listed(key("old"), seen("old", "u1", 1));
        store.list_ends();
        for (name, version) in &events {
            let uid = if *name == "old" { "u1" } else { "u2" };
            store.applied(&key(name), seen(name, uid, *version));
        }
        assert_eq!(contents(&store), left, "{events:?}");
    }
}

#[test]
fn a_write_older_than_the_list_that_lacks_it_is_gone() {
    let mut store = filled(&[("old", "u1", 1)]);
    store.list_begins();
    store.wrote(&key("new"), seen("new", "u2", 9));
    store.listed(key("old"), seen("old", "u1", 12));
    assert_eq!(told(&store.list_ends()), ["new@9>-", "old@1>old@12"]);
}

#[test]
fn an_answer_older_than_what_was_known_before_a_list_tells_nothing_after_it() {
    let mut store = filled(&[]);
    store.wrote(&key("a"), seen("a", "u1", 9));
    assert_eq!(list(&mut store, &[]), ["a@9>-"], "deleted by somebody");
    assert!(store.wrote(&key("a"), seen("a", "u1", 8)).is_empty());
}

#[test]
fn an_unreadable_object_keeps_its_last_readable_state() {
    let mut store = filled(&[("a", "u1", 1)]);
    assert!(store.applied(&key("a"), unreadable("u1")).is_empty());
    assert_eq!((contents(&store), store.unreadable()), (vec!["a@1".into()], vec![key("a")]));

    store.list_begins();
    store.listed(key("a"), unreadable("u1"));
    assert!(store.list_ends().is_empty());
    assert_eq!((contents(&store), store.unreadable()), (vec!["a@1".into()], vec![key("a")]));

    store.applied(&key("a"), seen("a", "u1", 4));
    assert_eq!((contents(&store), store.unreadable()), (vec!["a@4".into()], vec![]));

    store.applied(&key("a"), unreadable("u1"));
    assert_eq!(told(&store.removed(&key("a"), "u1", Some(7))), ["a@4>-"]);
    assert!(store.unreadable().is_empty());
}

#[test]
fn an_unreadable_successor_replaces_what_was_there() {
    let mut store = filled(&[("a", "u1", 1)]);
    assert_eq!(told(&store.applied(&key("a"), unreadable("u2"))), ["a@1>-"]);

    let mut store = filled(&[("a", "u1", 1)]);
    store.list_begins();
    store.listed(key("a"), unreadable("u2"));
    assert_eq!(told(&store.list_ends()), ["a@1>-"]);
}

#[test]
fn what_is_no_longer_wanted_is_gone() {
    let mut store = filled(&[("a", "u1", 1)]);
    assert_eq!(told(&store.wrote(&key("a"), Seen::Unkept(Some(2)))), ["a@1>-"]);

    let mut store = filled(&[("a", "u1", 5)]);
    assert!(store.applied(&key("a"), Seen::Unkept(Some(4))).is_empty(), "older than what is known");
    assert_eq!(told(&store.applied(&key("a"), Seen::Unkept(Some(6)))), ["a@5>-"]);
}

#[test]
fn an_index_follows_every_change() {
    let find = |store: &Store<Map>, value: &str| -> Vec<String> {
        store.objects().by_index(0, value).iter().map(|object| show(Some(object))).collect()
    };
    let mut store = filled(&[]);
    store.applied(&key("b"), indexed("b", "u1", 1, &["x", "y"]));
    store.applied(&key("a"), indexed("a", "u2", 2, &["x"]));
    assert_eq!(find(&store, "x"), ["a@2", "b@1"]);
    store.applied(&key("b"), indexed("b", "u1", 3, &["y", "z"]));
    assert_eq!(find(&store, "x"), ["a@2"]);
    assert_eq!(find(&store, "z"), ["b@3"]);
    store.deleted(&key("a"), "u2");
    store.removed(&key("b"), "u1", Some(4));
    assert!(store.objects().nothing_is_left_behind());
}

#[test]
fn without_numbers_whoever_comes_last_is_right() {
    let item = |opaque: &str| {
        let mut object = object("a", "u1", 0);
        object.metadata.resource_version = Some(opaque.into());
        let version = version(&object);
        assert_eq!(version, None);
        Seen::Kept(Item::new(object, version, vec![vec![]]))
    };
    let mut store = filled(&[]);
    store.applied(&key("a"), item("b"));
    store.wrote(&key("a"), item("a"));
    assert_eq!(contents(&store), ["a@a"]);
}

/// What can happen between a server, its watch and our own writes.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Someone creates or changes an object; `true`: we do, and the answer is on its way.
    Write(usize, bool),
    Delete(usize, bool),
    /// The oldest event on its way arrives.
    Event,
    /// One of the answers on their way arrives.
    Answer(usize),
    /// A list begins, is made, and ends.
    Relist,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3usize, any::<bool>()).prop_map(|(name, ours)| Step::Write(name, ours)),
        2 => (0..3usize, any::<bool>()).prop_map(|(name, ours)| Step::Delete(name, ours)),
        4 => Just(Step::Event),
        4 => (0..8usize).prop_map(Step::Answer),
        3 => Just(Step::Relist),
    ]
}

const NAMES: [&str; 4] = ["a", "b", "c", "sentinel"];

#[derive(Clone, Debug)]
enum News {
    Object(usize, String, u64),
    Gone(usize, String, u64),
}

#[derive(Debug)]
enum Relist {
    No,
    Begun,
    /// The objects and the version of the list.
    Made(Vec<(usize, String, u64)>, u64),
}

/// A server whose events and answers are late, each in its own way, and a store that learns from them.
struct World {
    store: Store<Map>,
    objects: BTreeMap<usize, (String, u64)>,
    version: u64,
    events: Vec<News>,
    answers: Vec<News>,
    relist: Relist,
    /// The newest version that the store has shown under each name.
    shown: BTreeMap<Key, u64>,
}

impl World {
    fn new() -> Self {
        Self {
            store: filled(&[]),
            objects: BTreeMap::new(),
            version: 0,
            events: vec![],
            answers: vec![],
            relist: Relist::No,
            shown: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(name, ours) => {
                self.version += 1;
                let entry = self.objects.entry(name).or_insert((format!("u{}", self.version), 0));
                entry.1 = self.version;
                let news = News::Object(name, entry.0.clone(), self.version);
                self.publish(news, ours);
            }
            Step::Delete(name, ours) => {
                if let Some((uid, _)) = self.objects.remove(&name) {
                    self.version += 1;
                    self.publish(News::Gone(name, uid, self.version), ours);
                }
            }
            Step::Event => {
                if matches!(self.relist, Relist::No) && !self.events.is_empty() {
                    let changes = match self.events.remove(0) {
                        News::Object(name, uid, version) => {
                            self.store.applied(&key(NAMES[name]), seen(NAMES[name], &uid, version))
                        }
                        News::Gone(name, uid, version) => self.store.removed(&key(NAMES[name]), &uid, Some(version)),
                    };
                    self.check(&changes);
                }
            }
            Step::Answer(which) => {
                if !self.answers.is_empty() {
                    let changes = match self.answers.remove(which % self.answers.len()) {
                        News::Object(name, uid, version) => {
                            self.store.wrote(&key(NAMES[name]), seen(NAMES[name], &uid, version))
                        }
                        News::Gone(name, uid, _) => self.store.deleted(&key(NAMES[name]), &uid),
                    };
                    self.check(&changes);
                }
            }
            Step::Relist => self.relist(),
        }
    }

    fn publish(&mut self, news: News, ours: bool) {
        if ours {
            self.answers.push(news.clone());
        }
        self.events.push(news);
    }

    fn relist(&mut self) {
        self.relist = match std::mem::replace(&mut self.relist, Relist::No) {
            Relist::No => {
                self.store.list_begins();
                Relist::Begun
            }
            Relist::Begun => {
                let objects =
                    self.objects.iter().map(|(name, (uid, version))| (*name, uid.clone(), *version)).collect();
                Relist::Made(objects, self.version)
            }
            Relist::Made(objects, made) => {
                for (name, uid, version) in objects {
                    self.store.listed(key(NAMES[name]), seen(NAMES[name], &uid, version));
                }
                let changes = self.store.list_ends();
                self.check(&changes);
                self.events.retain(|news| {
                    let (News::Object(.., version) | News::Gone(.., version)) = news;
                    *version > made
                });
                Relist::No
            }
        }
    }

    /// No object goes back, and none comes back.
    fn check(&mut self, changes: &[Change<Map>]) {
        for change in changes {
            let Some(new) = &change.new else { continue };
            let version = version(new.as_ref()).unwrap();
            let before = self.shown.insert(Key::of(new.as_ref()), version);
            assert!(before < Some(version), "{} after {before:?}", show(Some(new)));
        }
    }

    /// Lets everything arrive, and one more event.
    fn settle(&mut self) {
        while !matches!(self.relist, Relist::No) {
            self.relist();
        }
        while !self.answers.is_empty() {
            self.step(Step::Answer(0));
        }
        self.step(Step::Write(3, false));
        while !self.events.is_empty() {
            self.step(Step::Event);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_comes_late_the_store_goes_only_forward_and_ends_with_the_truth(
        steps in prop::collection::vec(step(), 0..40)
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle();
        let truth: Vec<_> = world.objects.iter().map(|(name, (_, version))| format!("{}@{version}", NAMES[*name])).collect();
        prop_assert_eq!(contents(&world.store), truth);
        prop_assert!(world.store.unconfirmed.is_empty());
    }
}

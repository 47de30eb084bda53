//! What server-side apply promises, for any configs of any managers.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{entry::Operation, leaves::leaves, *};

/// An object with its owners, outside of any registry.
#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    object: Value,
    entries: Entries,
}

fn writer(manager: &str) -> Writer {
    Writer { manager: manager.into(), api_version: "apps/v1".into(), ..Writer::default() }
}

impl World {
    fn apply(&mut self, manager: &str, config: &Value, force: bool) -> Result<(), Vec<Conflict>> {
        let live = if self.object.is_null() { json!({}) } else { self.object.clone() };
        let merged = merge(Place::KNOWN, &live, config, &self.entries, &writer(manager));
        let change = Change::Applied { fields: &merged.fields, force };
        self.entries = record(Place::KNOWN, &live, &merged.object, self.entries.clone(), &writer(manager), change)?;
        self.object = merged.object;
        Ok(())
    }

    fn update(&mut self, manager: &str, next: Value) {
        let entries =
            record(Place::KNOWN, &self.object, &next, self.entries.clone(), &writer(manager), Change::Updated);
        self.entries = entries.unwrap();
        self.object = next;
    }

    fn owns(&self, manager: &str) -> Vec<String> {
        let own = self.entries.iter().filter(|entry| entry.manager == manager);
        own.flat_map(|entry| entry.fields.0.iter().map(|path| fields::Shown(path).to_string())).collect()
    }
}

fn maybe<T: Strategy>(strategy: T) -> impl Strategy<Value = Option<T::Value>> {
    prop::option::of(strategy)
}

fn map(parts: Vec<(&str, Option<Value>)>) -> Value {
    let parts = parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(parts.collect::<Map<_, _>>())
}

/// Configs with maps, values, keyed lists in keyed lists, sets, lists and maps that are one value.
fn config() -> impl Strategy<Value = Value> {
    let word = || prop::sample::select(vec!["a", "b", "c"]);
    let number = || 0..3_i64;
    let env = prop::collection::btree_map(word(), number(), 0..3).prop_map(|all| -> Value {
        all.into_iter().map(|(name, value)| json!({"name": name, "value": value.to_string()})).collect()
    });
    let ports = prop::collection::btree_set(number(), 0..3)
        .prop_map(|all| -> Value { all.into_iter().map(|port| json!({"containerPort": port + 80})).collect() });
    let container = (word(), maybe(number()), maybe(env), maybe(ports)).prop_map(|(name, image, env, ports)| {
        let parts =
            vec![("name", Some(json!(name))), ("image", image.map(Value::from)), ("env", env), ("ports", ports)];
        (name, map(parts))
    });
    let containers = prop::collection::vec(container, 0..3).prop_map(|all| -> Value {
        let unique: std::collections::BTreeMap<_, _> = all.into_iter().collect();
        unique.into_values().collect()
    });
    let labels = prop::collection::btree_map(word(), number(), 0..3).prop_map(|all| json!(all));
    let finalizers = prop::collection::btree_set(word(), 0..3).prop_map(|all| json!(all));
    let spec =
        (maybe(number()), maybe(containers), maybe(labels.clone()), maybe(prop::collection::vec(number(), 0..3)));
    (maybe(labels), maybe(finalizers), spec).prop_map(|(labels, finalizers, (replicas, containers, selector, args))| {
        let spec = vec![
            ("replicas", replicas.map(Value::from)),
            ("containers", containers),
            ("selector", selector),
            ("args", args.map(Value::from)),
        ];
        json!({"metadata": map(vec![("labels", labels), ("finalizers", finalizers)]), "spec": map(spec)})
    })
}

proptest! {
    #[test]
    fn applying_again_changes_nothing(before in config(), wish in config(), force: bool) {
        let mut world = World::default();
        world.apply("other", &before, false).unwrap();
        if world.apply("me", &wish, force).is_ok() {
            let once = world.clone();
            world.apply("me", &wish, false).unwrap();
            prop_assert_eq!(world, once);
        }
    }

    #[test]
    fn a_manager_alone_gets_what_it_says_and_no_more(first in config(), second in config()) {
        let (mut both, mut only) = (World::default(), World::default());
        both.apply("me", &first, false).unwrap();
        both.apply("me", &second, false).unwrap();
        only.apply("me", &second, false).unwrap();
        prop_assert_eq!(leaves(Place::KNOWN, &both.object), leaves(Place::KNOWN, &only.object));
        prop_assert_eq!(both.owns("me"), only.owns("me"));
    }

    #[test]
    fn a_config_that_was_applied_is_there_and_nobody_owns_what_is_not(
        steps in prop::collection::vec((prop::sample::select(vec!["a", "b", "c"]), config(), any::<bool>()), 1..6),
    ) {
        let mut world = World::default();
        for (manager, config, force) in steps {
            let before = world.clone();
            if world.apply(manager, &config, force).is_err() {
                prop_assert!(!force && world == before, "a refused config changes nothing");
                continue;
            }
            let (live, wished) = (leaves(Place::KNOWN, &world.object), leaves(Place::KNOWN, &config));
            for (path, value) in wished.iter().filter(|(_, value)| !value.is_some_and(empty)) {
                prop_assert_eq!(live.get(path), Some(value), "{}", fields::Shown(path));
            }
            let all = Fields(live.keys().cloned().collect());
            for entry in world.entries.iter() {
                for path in &entry.fields.0 {
                    prop_assert!(all.reaches(path) || reads_empty(path, &world.object), "{}", fields::Shown(path));
                }
            }
        }
    }

    #[test]
    fn nobody_loses_a_field_without_force(theirs in config(), mine in config()) {
        let mut world = World::default();
        world.apply("they", &theirs, false).unwrap();
        let before = leaves(Place::KNOWN, &world.object).into_iter().map(|(p, v)| (p, v.cloned())).collect::<Vec<_>>();
        if world.apply("me", &mine, false).is_ok() {
            let after = leaves(Place::KNOWN, &world.object);
            for (path, value) in before.iter().filter(|(_, value)| !value.as_ref().is_some_and(empty)) {
                prop_assert_eq!(after.get(path), Some(&value.as_ref()), "{}", fields::Shown(path));
            }
        }
    }

    #[test]
    fn sets_are_read_as_they_are_written(wish in config()) {
        let fields = fields_of(Place::KNOWN, &wish);
        prop_assert_eq!(Fields::parse(&fields.to_value()), Some(fields));
    }

    #[test]
    fn an_update_owns_what_it_changed(before in config(), next in config()) {
        let mut world = World::default();
        world.apply("they", &before, false).unwrap();
        let old = world.object.clone();
        world.update("editor", next.clone());
        for path in world.entries.find(&writer("editor"), Operation::Update).iter().flat_map(|entry| &entry.fields.0) {
            let (was, is) = (leaves(Place::KNOWN, &old), leaves(Place::KNOWN, &next));
            prop_assert_ne!(was.get(path), is.get(path));
        }
        // Whoever applies the old wish again meets the editor where both speak of the same.
        let differs = leaves(Place::KNOWN, &before).iter().any(|(path, value)| leaves(Place::KNOWN, &next).get(path).is_some_and(|now| now != value));
        prop_assert_eq!(world.apply("they", &before, false).is_err(), differs);
    }
}

fn empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Whether the path leads to a map or list that is there, without parts.
fn reads_empty(path: &[fields::Step], object: &Value) -> bool {
    let mut at = object;
    for step in path {
        let fields::Step::Field(name) = step else { return true };
        match at.get(name) {
            Some(below) => at = below,
            None => return false,
        }
    }
    true
}

#[test]
fn two_managers_conflict_and_force_takes_over() {
    let config = |replicas: i32| json!({"spec": {"replicas": replicas, "containers": [{"name": "c", "image": "i"}]}});
    let mut world = World::default();
    world.apply("a", &config(1), false).unwrap();
    // The same value is no conflict: both own it then.
    world.apply("b", &config(1), false).unwrap();
    assert_eq!(world.owns("a"), world.owns("b"));
    let conflicts = world.apply("b", &config(2), false).unwrap_err();
    assert_eq!(conflicts.len(), 1);
    let Conflict { manager, field, using } = &conflicts[0];
    assert_eq!((manager.as_str(), field.as_str(), using.as_str()), ("a", ".spec.replicas", "using apps/v1"));
    world.apply("b", &config(2), true).unwrap();
    assert_eq!(world.object["spec"]["replicas"], 2);
    assert!(!world.owns("a").contains(&".spec.replicas".into()));
    assert!(world.apply("a", &config(1), false).is_err());
    // Who lets go of a field that another wants leaves it there; the last one removes it.
    world.apply("b", &json!({}), false).unwrap();
    assert_eq!(world.object, json!({"spec": {"containers": [{"name": "c", "image": "i"}]}}));
    world.apply("a", &json!({}), false).unwrap();
    assert_eq!(world.object, json!({}));
}

#[test]
fn items_of_lists_have_owners_of_their_own() {
    let with = |name: &str, image: &str| json!({"spec": {"containers": [{"name": name, "image": image}]}});
    let mut world = World::default();
    world.apply("a", &with("web", "web:1"), false).unwrap();
    world.apply("b", &with("log", "log:1"), false).unwrap();
    world.apply("a", &with("web", "web:2"), false).unwrap();
    let images: Vec<_> = world.object["spec"]["containers"].as_array().unwrap().iter().map(|c| &c["image"]).collect();
    assert_eq!(images, ["web:2", "log:1"]);
    let expected =
        json!({"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:name": {}}}}});
    assert_eq!(world.entries.to_value().unwrap()[0]["fieldsV1"], expected);
    // An editor that sets a field of another's item keeps the item there.
    let mut next = world.object.clone();
    next["spec"]["containers"][0]["tty"] = true.into();
    world.update("editor", next);
    world.apply("a", &json!({}), false).unwrap();
    assert_eq!(world.object["spec"]["containers"][0], json!({"name": "web", "tty": true}));
}

#[test]
fn the_oldest_updaters_are_counted_together() {
    let mut world = World { object: json!({}), ..World::default() };
    for number in 0..30 {
        let mut next = world.object.clone();
        next[format!("field{number}")] = number.into();
        world.update(&format!("m{number:02}"), next);
    }
    assert_eq!(world.entries.iter().count(), MAX_UPDATERS);
    assert_eq!(world.owns("ancient-changes").len(), 30 - MAX_UPDATERS + 1);
}

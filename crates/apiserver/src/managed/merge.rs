//! An applied config merged into the live object, and the fields that go because no manager owns them any more.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
};

use serde_json::{Map, Value};

use super::{
    entry::{Entries, Operation, Writer},
    fields::{Fields, Path, Step},
    leaves,
    shape::{self, Key, Place, Shape},
};

/// A config laid over an object.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    /// The object that the manager wants.
    pub(crate) object: Value,
    /// What the config speaks of.
    pub(crate) fields: Fields,
}

/// Merges `config` into `live` and removes what this manager applied before, does not apply now, and no other manager
/// owns.
pub(crate) fn merge(root: Place<'_>, live: &Value, config: &Value, entries: &Entries, writer: &Writer) -> Merged {
    let fields = leaves::fields(root, config);
    let mut object = live.clone();
    lay_fields(root, &mut object, config);
    let own = entries.find(writer, Operation::Apply);
    let wanted = |path: &[Step]| {
        fields.reaches(path)
            || entries
                .iter()
                .any(|entry| !own.is_some_and(|own| std::ptr::eq(own, entry)) && entry.fields.reaches(path))
    };
    let before = own.iter().flat_map(|entry| &entry.fields.0);
    let unwanted: Vec<&Path> = before.filter(|path| !wanted(path)).collect();
    remove(root, &mut object, &unwanted, &wanted);
    Merged { object, fields }
}

/// Removes what the paths lead to. Items go list by list, outer lists first, and what is below them goes with them.
fn remove(root: Place<'_>, object: &mut Value, unwanted: &[&Path], wanted: &dyn Fn(&[Step]) -> bool) {
    let mut lists: BTreeMap<&[Step], HashSet<&Step>> = BTreeMap::new();
    let mut items: HashSet<&[Step]> = HashSet::new();
    for path in unwanted {
        if let Some((item @ (Step::Key(_) | Step::Item(_)), list)) = path.split_last() {
            lists.entry(list).or_default().insert(item);
            items.insert(path);
        }
    }
    let lookups = RefCell::default();
    for (list, gone) in &lists {
        let Some(any) = gone.iter().next() else { continue };
        let path: Path = list.iter().chain([*any]).cloned().collect();
        Removal { path: &path, gone, wanted, lookups: &lookups }.fields(root, object, 0);
    }
    let is_gone = |path: &Path| (1..=path.len()).any(|end| items.contains(&path[..end]));
    for path in unwanted.iter().filter(|path| !is_gone(path)) {
        Removal { path, gone: &HashSet::new(), wanted, lookups: &lookups }.fields(root, object, 0);
    }
}

/// Where the items of a list are by their names, and the fields that name them; nothing when it is no such list.
type Lookup = Option<(Cow<'static, [Key]>, HashMap<String, usize>)>;

fn lay_fields(place: Place<'_>, live: &mut Value, config: &Value) {
    let (Value::Object(live), Value::Object(config)) = (live, config) else { return };
    for (field, value) in config.iter().filter(|(_, value)| !value.is_null()) {
        match live.get_mut(field) {
            Some(live) => lay(place.below(field), live, value),
            None => drop(live.insert(field.clone(), value.clone())),
        }
    }
}

fn lay(place: Place<'_>, live: &mut Value, config: &Value) {
    match (shape::declared(place, config), &mut *live, config) {
        (Shape::Fields, Value::Object(_), _) => lay_fields(place, live, config),
        (Shape::Keyed(keys), Value::Array(items), Value::Array(wanted)) => {
            lay_items(place, items, wanted, |item| shape::name(&keys, item).unwrap_or_default());
        }
        (Shape::Set, Value::Array(items), Value::Array(wanted)) => lay_items(place, items, wanted, Value::to_string),
        _ => *live = config.clone(),
    }
}

/// Lays a list over another, whose items `id` tells apart.
fn lay_items(place: Place<'_>, live: &mut Vec<Value>, config: &[Value], id: impl Fn(&Value) -> String) {
    let names: (Vec<String>, Vec<String>) = (live.iter().map(&id).collect(), config.iter().map(&id).collect());
    let places: HashMap<&str, usize> =
        names.0.iter().enumerate().rev().map(|(place, name)| (name.as_str(), place)).collect();
    let order = interleave(&names.0, &names.1);
    let take = |item: Item, live: &mut Vec<Value>| match item {
        Item::Live(at) => live[at].take(),
        Item::Config(at) => match places.get(names.1[at].as_str()) {
            // A second item of the same name finds it taken, and is for admission to judge.
            Some(known) if !live[*known].is_null() => {
                let mut item = live[*known].take();
                lay_fields(place.item(), &mut item, &config[at]);
                item
            }
            _ => config[at].clone(),
        },
    };
    *live = order.into_iter().map(|item| take(item, live)).collect();
}

/// An item of a merged list, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// Of the live list alone.
    Live(usize),
    /// Of the config, whether the live list has it or not.
    Config(usize),
}

/// The order of a merged list: items of the config are in its order, and those only the live list has stay before the
/// neighbours they had.
///
/// Source: `visitListItems` of sigs.k8s.io/structured-merge-diff, typed/merge.go.
fn interleave(live: &[String], config: &[String]) -> Vec<Item> {
    let (known, wanted): (HashSet<&String>, HashSet<&String>) = (live.iter().collect(), config.iter().collect());
    let mut shared = config.iter().filter(|name| known.contains(name)).peekable();
    let mut merged = HashSet::new();
    let (mut l, mut c) = (0, 0);
    let mut order = Vec::with_capacity(live.len() + config.len());
    while l < live.len() || c < config.len() {
        if let (Some(mine), Some(theirs)) = (live.get(l), config.get(c)) {
            if mine == theirs {
                order.push(Item::Config(c));
                merged.insert(mine);
                (l, c) = (l + 1, c + 1);
                shared.next();
                continue;
            }
            // It comes later, in the config's order.
            if wanted.contains(mine) && shared.peek().is_some_and(|next| *next != mine) {
                l += 1;
                continue;
            }
        }
        if let Some(mine) = live.get(l) {
            if !wanted.contains(mine) {
                order.push(Item::Live(l));
                l += 1;
                continue;
            }
            l += usize::from(merged.contains(mine));
        }
        if let Some(theirs) = config.get(c) {
            order.push(Item::Config(c));
            merged.insert(theirs);
            c += 1;
            shared.next_if(|next| *next == theirs);
        }
    }
    order
}

/// A path on whose end something is removed.
struct Removal<'a> {
    path: &'a [Step],
    /// The items that go when the path ends with one of them.
    gone: &'a HashSet<&'a Step>,
    wanted: &'a dyn Fn(&[Step]) -> bool,
    /// Lists on the way, by the path to them: making a lookup takes as long as reading the list.
    lookups: &'a RefCell<HashMap<Path, Lookup>>,
}

impl Removal<'_> {
    /// Removes what the path leads to from `depth` on, and maps and lists that are empty then, unless somebody wants
    /// them as they are. Keys of items stay as long as their items.
    fn fields(&self, place: Place<'_>, value: &mut Value, depth: usize) {
        let (Value::Object(fields), Some(Step::Field(field))) = (value, self.path.get(depth)) else { return };
        let Some(below) = fields.get_mut(field) else { return };
        let (next, place) = (depth + 1, place.below(field));
        let emptied = match self.path.get(next) {
            None => true,
            Some(Step::Field(_)) => {
                self.fields(place, below, next);
                below.as_object().is_some_and(Map::is_empty)
            }
            Some(Step::Key(key)) if next + 1 < self.path.len() => {
                self.item(place, below, key, next);
                below.as_array().is_some_and(Vec::is_empty)
            }
            Some(Step::Key(_) | Step::Item(_)) => {
                self.items(place, below);
                below.as_array().is_some_and(Vec::is_empty)
            }
        };
        if emptied && !(self.wanted)(&self.path[..next]) {
            fields.shift_remove(field);
        }
    }

    /// Removes the items that go.
    fn items(&self, place: Place<'_>, list: &mut Value) {
        let shape = shape::of(place, list);
        let Value::Array(items) = list else { return };
        let step = |item: &Value| match &shape {
            Shape::Keyed(keys) => shape::name(keys, item).map(Step::Key),
            _ => Some(Step::Item(item.to_string())),
        };
        items.retain(|item| !step(item).is_some_and(|step| self.gone.contains(&step)));
    }

    /// Goes on below an item.
    fn item(&self, place: Place<'_>, list: &mut Value, key: &str, depth: usize) {
        let mut lookups = self.lookups.borrow_mut();
        let lookup = lookups.entry(self.path[..depth].to_vec()).or_insert_with(|| lookup(place, list));
        let Some((keys, places)) = lookup else { return };
        let (Some(at), Value::Array(items)) = (places.get(key).copied(), list) else { return };
        match &self.path[depth + 1..] {
            [Step::Field(name)] if keys.iter().any(|key| key.name == *name) => {}
            _ => {
                drop(lookups);
                if let Some(item) = items.get_mut(at) {
                    self.fields(place.item(), item, depth + 1);
                }
            }
        }
    }
}

fn lookup(place: Place<'_>, list: &Value) -> Lookup {
    let Shape::Keyed(keys) = shape::of(place, list) else { return None };
    let names = list.as_array().into_iter().flatten().map(|item| shape::name(&keys, item).unwrap_or_default());
    // The first of a name counts.
    let places: Vec<(String, usize)> = names.enumerate().map(|(place, name)| (name, place)).collect();
    Some((keys, places.into_iter().rev().collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(live: &str, config: &str) -> String {
        let names = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        let (live, config) = (names(live), names(config));
        let name = |item: &Item| match item {
            Item::Live(at) => live[*at].as_str(),
            Item::Config(at) => config[*at].as_str(),
        };
        interleave(&live, &config).iter().map(name).collect()
    }

    #[test]
    fn a_long_list_is_laid_and_taken_away_in_the_time_it_takes_to_read_it() {
        use serde_json::json;

        let names: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
        let pod = |env: Vec<Value>| json!({"spec": {"containers": [{"name": "c", "env": env}]}});
        let all = pod(names.iter().rev().map(|name| json!({"name": name, "value": "v"})).collect());
        let writer = Writer { manager: "m".into(), api_version: "v1".into(), ..Writer::default() };
        let laid = merge(Place::KNOWN, &all, &all, &Entries::default(), &writer).object;
        assert_eq!(laid, all);
        let owned: Map<String, Value> = names
            .iter()
            .map(|name| (format!("k:{{\"name\":{name:?}}}"), json!({".": {}, "f:name": {}, "f:value": {}})))
            .collect();
        let fields =
            json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:env": owned}}}});
        let entry = json!({"manager": "m", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
        let entries = Entries::of(&json!({"metadata": {"managedFields": [entry]}})).unwrap().unwrap();
        let bare = json!({"spec": {"containers": [{"name": "c"}]}});
        assert_eq!(merge(Place::KNOWN, &all, &bare, &entries, &writer).object, bare);
    }

    #[test]
    fn merged_lists_are_in_the_order_of_the_config() {
        for (live, config, wanted) in [
            ("", "ab", "ab"),
            ("ab", "", "ab"),
            ("ab", "xab", "xab"),
            ("ab", "axb", "axb"),
            ("ab", "x", "abx"),
            ("abc", "cba", "cba"),
            ("asb", "ba", "sba"),
            ("sab", "bxa", "sbxa"),
            ("abs", "ba", "bsa"),
        ] {
            assert_eq!(order(live, config), wanted, "{live} {config}");
        }
    }

    proptest! {
        #[test]
        fn every_item_is_there_once_and_the_config_keeps_its_order(live in "[a-h]{0,8}", config in "[a-h]{0,8}") {
            let once = |text: String| -> String {
                text.char_indices().filter(|(at, c)| text.find(*c) == Some(*at)).map(|(_, c)| c).collect()
            };
            let (live, config) = (once(live), once(config));
            let merged = order(&live, &config);
            let of_config: String = merged.chars().filter(|c| config.contains(*c)).collect();
            prop_assert_eq!(&of_config, &config);
            let of_live: String = merged.chars().filter(|c| !config.contains(*c)).collect();
            let only_live: String = live.chars().filter(|c| !config.contains(*c)).collect();
            prop_assert_eq!(of_live, only_live);
        }
    }
}

//! Which images and layers go: a pure function of what there is, how full the disk is, and how old things are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// When images go that no container uses.
///
/// Those that no name leads to any more (the tag has moved) always go; those that have one go when the disk is fuller
/// than the high mark, longest unused first, until it is at the low mark, or when they were not used for `age_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectPolicy {
    /// Above this share of the file system that holds the store, in percent, images with a name go too.
    pub high_percent: u8,
    /// Until this share is reached.
    pub low_percent: u8,
    /// What was pulled, or a container started from, within this time stays: it may be about to be used.
    pub age_min: Duration,
    /// The same for a disk that would stay fuller than the high mark: images come faster than they age.
    pub age_pressed: Duration,
    /// What was not used for this time goes even if there is room. `None` keeps it.
    pub age_max: Option<Duration>,
}

impl Default for CollectPolicy {
    /// Kubernetes' defaults; it has no age for a disk under pressure.
    fn default() -> Self {
        let (age_min, age_pressed) = (Duration::from_secs(120), Duration::from_secs(10));
        Self { high_percent: 85, low_percent: 80, age_min, age_pressed, age_max: None }
    }
}

/// Size of the store's file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) total: u64,
    pub(crate) used: u64,
}

impl Disk {
    /// Bytes that a share of it is.
    fn share(self, percent: u8) -> u64 {
        u64::try_from(u128::from(self.total) * u128::from(percent.min(100)) / 100).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_fuller_than(self, percent: u8) -> bool {
        self.used > self.share(percent)
    }

    /// The used share, after some bytes were freed.
    pub(crate) fn percent_after(self, freed: u64) -> u8 {
        let used = u128::from(self.used.saturating_sub(freed));
        u8::try_from(used * 100 / u128::from(self.total.max(1))).unwrap_or(100)
    }
}

/// An image that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredImage {
    /// Of its manifest.
    pub(crate) digest: String,
    /// Whether a name leads to it.
    pub(crate) named: bool,
    pub(crate) layers: BTreeSet<String>,
    pub(crate) last_used: SystemTime,
}

/// A layer that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredLayer {
    pub(crate) bytes: u64,
    pub(crate) made: SystemTime,
}

/// Everything that is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stock {
    pub(crate) images: Vec<StoredImage>,
    pub(crate) layers: BTreeMap<String, StoredLayer>,
    /// Layers that containers use.
    pub(crate) in_use: BTreeSet<String>,
    /// Layers of images that are being pulled.
    pub(crate) pulling: BTreeSet<String>,
}

/// What goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leaving {
    /// Digests of images.
    pub(crate) images: BTreeSet<String>,
    /// Layers that none of the others needs.
    pub(crate) layers: BTreeSet<String>,
    /// Sum of these layers.
    pub(crate) bytes: u64,
}

impl Stock {
    /// Whether containers run from it: they use all of its layers. (One of a base image only has some.)
    pub(crate) fn runs(&self, image: &StoredImage) -> bool {
        !image.layers.is_empty() && image.layers.iter().all(|layer| self.in_use.contains(layer))
    }

    fn free(&self, layer: &str) -> bool {
        !self.in_use.contains(layer) && !self.pulling.contains(layer)
    }
}

/// Decides what goes.
pub(crate) fn plan(stock: &Stock, disk: Disk, policy: &CollectPolicy, now: SystemTime) -> Leaving {
    // A time in the future (the clock was set back) is young.
    let age = |time: SystemTime| now.duration_since(time).unwrap_or(Duration::ZERO);
    let mut leaving = Leaving::default();
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    for layer in stock.images.iter().flat_map(|image| &image.layers) {
        *users.entry(layer).or_default() += 1;
    }
    for (layer, stored) in &stock.layers {
        // Left by a pull that was given up; another try would find it.
        if !users.contains_key(layer.as_str()) && stock.free(layer) && age(stored.made) >= policy.age_min {
            leaving.bytes += stored.bytes;
            leaving.layers.insert(layer.clone());
        }
    }
    let mut candidates: Vec<&StoredImage> = stock.images.iter().filter(|image| !stock.runs(image)).collect();
    candidates.sort_by_key(|image| (image.named, image.last_used, image.digest.clone()));
    let (old, young): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|image| age(image.last_used) >= policy.age_min);
    let fuller =
        |freed: u64, percent: u8| Disk { used: disk.used.saturating_sub(freed), ..disk }.is_fuller_than(percent);
    let mut pressed = None;
    for image in old {
        let due = !image.named || policy.age_max.is_some_and(|most| age(image.last_used) >= most);
        // Asked once, when all that goes anyway is counted: then down to the low mark.
        let pressed = due || *pressed.get_or_insert_with(|| fuller(leaving.bytes, policy.high_percent));
        if !(due || pressed && fuller(leaving.bytes, policy.low_percent)) {
            break;
        }
        leaving.take(image, stock, &mut users);
    }
    let pressed = fuller(leaving.bytes, policy.high_percent);
    for image in young {
        if pressed && fuller(leaving.bytes, policy.low_percent) && age(image.last_used) >= policy.age_pressed {
            leaving.take(image, stock, &mut users);
        }
    }
    leaving
}

impl Leaving {
    /// Adds an image, and its layers that no other image needs and nothing uses.
    fn take<'a>(&mut self, image: &'a StoredImage, stock: &Stock, users: &mut BTreeMap<&'a str, usize>) {
        self.images.insert(image.digest.clone());
        for layer in &image.layers {
            let left = users.get_mut(layer.as_str());
            let unneeded = left.is_some_and(|users| {
                *users -= 1;
                *users == 0
            });
            if let Some(stored) = stock.layers.get(layer).filter(|_| unneeded && stock.free(layer)) {
                self.bytes += stored.bytes;
                self.layers.insert(layer.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn image(digest: &str, named: bool, layers: &[&str], last_used: u64) -> StoredImage {
        let layers = layers.iter().map(|layer| (*layer).to_owned()).collect();
        StoredImage { digest: digest.to_owned(), named, layers, last_used: at(last_used) }
    }

    /// Layers of ten bytes each.
    fn stock(images: Vec<StoredImage>) -> Stock {
        let names = images.iter().flat_map(|image| image.layers.clone());
        let layers = names.map(|name| (name, StoredLayer { bytes: 10, made: at(0) })).collect();
        Stock { images, layers, ..Stock::default() }
    }

    fn names(set: &BTreeSet<String>) -> Vec<&str> {
        set.iter().map(String::as_str).collect()
    }

    const ROOM: Disk = Disk { total: 1000, used: 100 };
    const FULL: Disk = Disk { total: 1000, used: 900 };

    #[test]
    fn what_no_name_leads_to_goes_and_what_is_shared_stays() {
        let stock = stock(vec![image("old", false, &["base", "a"], 1), image("new", true, &["base", "b"], 2)]);
        let leaving = plan(&stock, ROOM, &CollectPolicy::default(), at(1000));
        assert_eq!((names(&leaving.images), names(&leaving.layers), leaving.bytes), (vec!["old"], vec!["a"], 10));
    }

    #[test]
    fn with_room_what_has_a_name_stays_until_it_is_old() {
        let stock = stock(vec![image("old", true, &["a"], 1), image("new", true, &["b"], 900)]);
        assert_eq!(plan(&stock, ROOM, &CollectPolicy::default(), at(1000)), Leaving::default());
        let policy = CollectPolicy { age_max: Some(Duration::from_secs(600)), ..CollectPolicy::default() };
        assert_eq!(names(&plan(&stock, ROOM, &policy, at(1000)).images), ["old"]);
    }

    #[test]
    fn a_full_disk_is_emptied_to_the_low_mark_longest_unused_first() {
        let all = (0..20).map(|number| image(&format!("{number:02}"), true, &[&format!("l{number:02}")], number));
        let stock = stock(all.collect());
        let leaving = plan(&stock, FULL, &CollectPolicy::default(), at(1000));
        let expected: Vec<String> = (0..10).map(|number| format!("{number:02}")).collect();
        assert_eq!((leaving.images.iter().cloned().collect::<Vec<_>>(), leaving.bytes), (expected, 100));
        let at_the_mark = Disk { total: 1000, used: 850 };
        assert_eq!(plan(&stock, at_the_mark, &CollectPolicy::default(), at(1000)), Leaving::default());
    }

    #[test]
    fn what_runs_is_being_pulled_or_was_just_used_stays_however_full_the_disk_is() {
        let mut stock = stock(vec![
            image("runs", false, &["base", "a"], 1),
            image("base", true, &["base"], 1),
            image("fresh", true, &["f"], 995),
            image("half", true, &["base", "h"], 1),
            image("future", true, &["t"], 5000),
        ]);
        stock.in_use = ["base", "a"].map(str::to_owned).into();
        stock.pulling = ["p".to_owned()].into();
        for (name, made) in [("p", 1), ("orphan", 1), ("young", 990)] {
            stock.layers.insert(name.to_owned(), StoredLayer { bytes: 10, made: at(made) });
        }
        let leaving = plan(&stock, FULL, &CollectPolicy::default(), at(1000));
        assert_eq!((names(&leaving.images), names(&leaving.layers)), (vec!["half"], vec!["h", "orphan"]));
    }

    /// A node on which a tag moves, or a new one comes, a thousand times.
    #[test]
    fn a_thousand_changing_tags_keep_the_disk_below_its_high_mark() {
        for moves in [true, false] {
            let mut here = Stock { in_use: ["base".to_owned()].into(), ..Stock::default() };
            here.layers.insert("base".to_owned(), StoredLayer { bytes: 50, made: at(0) });
            for step in 0..1000_u64 {
                let now = 10_000 + step * 300;
                if moves {
                    here.images.iter_mut().for_each(|image| image.named = false);
                }
                let layer = format!("l{step}");
                here.images.push(image(&format!("i{step}"), true, &["base", &layer], now));
                here.layers.insert(layer, StoredLayer { bytes: 7 + step % 11, made: at(now) });
                let used = 500 + here.layers.values().map(|layer| layer.bytes).sum::<u64>();
                let disk = Disk { total: 1000, used };
                let leaving = plan(&here, disk, &CollectPolicy::default(), at(now + 60));
                here.images.retain(|image| !leaving.images.contains(&image.digest));
                here.layers.retain(|layer, _| !leaving.layers.contains(layer));
                assert!(disk.percent_after(leaving.bytes) <= 85, "step {step}");
                assert!(here.images.iter().any(|image| image.digest == format!("i{step}")), "the newest stays");
            }
        }
    }

    /// A tag a second, each of them a hundredth of the disk.
    #[test]
    fn images_that_come_faster_than_they_age_do_not_fill_the_disk() {
        let mut here = Stock::default();
        for now in 1000..2000 {
            let layer = format!("l{now}");
            here.images.push(image(&format!("i{now}"), true, &[&layer], now));
            here.layers.insert(layer, StoredLayer { bytes: 10, made: at(now) });
            let disk = Disk { total: 1000, used: here.layers.values().map(|layer| layer.bytes).sum() };
            let leaving = plan(&here, disk, &CollectPolicy::default(), at(now));
            here.images.retain(|image| !leaving.images.contains(&image.digest));
            here.layers.retain(|layer, _| !leaving.layers.contains(layer));
            assert!(disk.percent_after(leaving.bytes) <= 85, "at {now}");
            assert!(
                here.images.iter().filter(|image| image.last_used > at(now - 10)).count() >= 10.min(here.images.len())
            );
        }
    }

    proptest! {
        /// Whatever is there: nothing in use or young goes, no kept image lacks a layer it had, sums are right.
        #[test]
        fn no_plan_breaks_what_stays(
            images in proptest::collection::vec((any::<bool>(), proptest::collection::btree_set(0_u8..12, 0..4), 0_u64..400), 0..12),
            in_use in proptest::collection::btree_set(0_u8..12, 0..5),
            used in 0_u64..1000,
        ) {
            let name = |layer: &u8| layer.to_string();
            let images = images.iter().enumerate().map(|(number, (named, layers, last_used))| StoredImage {
                digest: number.to_string(),
                named: *named,
                layers: layers.iter().map(name).collect(),
                last_used: at(*last_used),
            });
            let mut here = stock(images.collect());
            here.in_use = in_use.iter().map(name).collect();
            let leaving = plan(&here, Disk { total: 1000, used }, &CollectPolicy::default(), at(400));
            prop_assert!(leaving.layers.is_disjoint(&here.in_use));
            prop_assert_eq!(leaving.bytes, 10 * leaving.layers.len() as u64);
            for image in &here.images {
                if leaving.images.contains(&image.digest) {
                    prop_assert!(image.last_used <= at(390) && !here.runs(image));
                } else {
                    prop_assert!(image.layers.is_disjoint(&leaving.layers));
                }
            }
        }
    }
}

//! Finalizers: what must happen before an object that is being deleted may go.

use crate::ObjectMeta;

/// A finalizer by its name, and by the name that an older release stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finalizer {
    name: &'static str,
    former: Option<&'static str>,
}

impl Finalizer {
    /// A finalizer that has always had this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, former: None }
    }

    /// A finalizer that older releases stored as `former`.
    #[must_use]
    pub const fn renamed(name: &'static str, former: &'static str) -> Self {
        Self { name, former: Some(former) }
    }

    /// Its name on new objects.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether a finalizer of this name is it, under its name of today or its former one.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        name == self.name || self.former == Some(name)
    }

    /// Whether it holds the object.
    #[must_use]
    pub fn holds(&self, meta: &ObjectMeta) -> bool {
        meta.finalizers.iter().flatten().any(|name| self.is(name))
    }

    /// Adds it, unless it holds the object already; says whether anything changed.
    pub fn add(&self, meta: &mut ObjectMeta) -> bool {
        let missing = !self.holds(meta);
        if missing {
            meta.finalizers.get_or_insert_default().push(self.name.to_owned());
        }
        missing
    }

    /// Removes it under each of its names; says whether anything changed.
    pub fn remove(&self, meta: &mut ObjectMeta) -> bool {
        let held = self.holds(meta);
        meta.finalizers.get_or_insert_default().retain(|name| !self.is(name));
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::finalizer::{BUNDLE_CLEANUP, VOLUME_DATA};

    fn held_by(names: &[&str]) -> ObjectMeta {
        let finalizers = Some(names.iter().map(|name| (*name).to_owned()).collect());
        ObjectMeta { finalizers, ..ObjectMeta::default() }
    }

    #[test]
    fn an_object_of_an_older_release_is_held_and_released() {
        for (finalizer, former) in [(BUNDLE_CLEANUP, "nanocloud.io/volumes"), (VOLUME_DATA, "nanocloud.io/volume")] {
            let mut meta = held_by(&[former, "example.com/f"]);
            assert!(finalizer.holds(&meta));
            assert!(!finalizer.add(&mut meta), "one name is enough");
            assert!(finalizer.remove(&mut meta));
            assert_eq!(meta.finalizers, Some(vec!["example.com/f".to_owned()]));
            assert!(!finalizer.remove(&mut meta));
        }
    }

    #[test]
    fn the_former_names_are_not_confused_with_each_other() {
        assert!(!BUNDLE_CLEANUP.is("nanocloud.io/volume"));
        assert!(!VOLUME_DATA.is("nanocloud.io/volumes"));
    }

    #[test]
    fn new_objects_get_the_name_of_today_once() {
        let mut meta = ObjectMeta::default();
        assert!(VOLUME_DATA.add(&mut meta));
        assert!(!VOLUME_DATA.add(&mut meta));
        assert_eq!(meta.finalizers, Some(vec!["nanocloud.io/volume-data".to_owned()]));
    }

    #[test]
    fn both_names_are_removed_at_once() {
        let mut meta = held_by(&["nanocloud.io/volume", "nanocloud.io/volume-data"]);
        assert!(VOLUME_DATA.remove(&mut meta));
        assert_eq!(meta.finalizers, Some(Vec::new()));
    }
}

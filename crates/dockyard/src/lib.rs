//! The option language of Dockyard images: parse, resolve, plan bindings; recipes.

# Labels of an image, from its recipe. crates/dockyard reads `io.nanocloud.options` back and compares
# it with what it makes of the same recipe (nix/ci/golden/labels.json).
{ lib }:
recipe:
{
  "org.opencontainers.image.title" = recipe.name;
  "org.opencontainers.image.version" = recipe.version;
}
// lib.optionalAttrs (recipe ? label) {
  "io.nanocloud.options" = builtins.toJSON ({ version = 1; } // recipe.label);
}
// lib.optionalAttrs ((recipe.label.description or "") != "") {
  "org.opencontainers.image.description" = recipe.label.description;
}

# Labels of every Dockyard image as Nix makes them: { <recipe> = { <label> = text; }; }.
{
  lib ? import ./nixpkgs/lib,
}:
let
  recipes = import ../packages/recipes.nix {
    inherit lib;
    dockyard = ../../dockyard;
    read = folder: lib.importTOML (folder + "/recipe.toml");
  };
in
lib.mapAttrs (_: import ../packages/recipe-label.nix { inherit lib; }) recipes

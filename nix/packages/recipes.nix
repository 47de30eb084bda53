# Every recipe below dockyard/ by its name, one or two folders deep (as `diagnostics/loopback`).
{
  lib,
  dockyard,
  read,
}:
let
  folders =
    path: lib.attrNames (lib.filterAttrs (_: kind: kind == "directory") (builtins.readDir path));
  found =
    prefix: path:
    lib.concatMap (
      name:
      let
        here = path + "/${name}";
      in
      if builtins.pathExists (here + "/recipe.toml") then
        [
          {
            name = prefix + name;
            value = read here;
          }
        ]
      else
        found "${prefix}${name}/" here
    ) (folders path);
in
lib.listToAttrs (found "" dockyard)

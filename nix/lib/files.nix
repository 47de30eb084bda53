# Attributes from a directory: adding a file is all it takes to add a check, a profile, a test.
{ lib }:
{
  # directory -> { <name> = <path of name.nix>; }
  nixFilesIn =
    directory:
    let
      entries = builtins.readDir directory;
      isModule = name: entries.${name} == "regular" && lib.hasSuffix ".nix" name;
    in
    lib.listToAttrs (
      map (name: {
        name = lib.removeSuffix ".nix" name;
        value = directory + "/${name}";
      }) (lib.filter isModule (lib.attrNames entries))
    );
}

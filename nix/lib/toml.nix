# Flat TOML as text that is had by evaluation alone (pkgs.formats.toml needs a build).
{ lib }:
let
  # A JSON string is a TOML basic string; numbers and booleans are written alike.
  value =
    name: v:
    if builtins.isString v || builtins.isInt v || builtins.isBool v then
      builtins.toJSON v
    else if builtins.isFloat v then
      builtins.toJSON v
    else if builtins.isList v then
      "[${lib.concatMapStringsSep ", " (value name) v}]"
    else
      throw "setting ${name}: a ${builtins.typeOf v} cannot be written in the configuration file";
in
{
  # { name = value; ... } -> text, sorted by name; null leaves a setting out.
  flat =
    settings:
    let
      given = lib.filterAttrs (_: v: v != null) settings;
    in
    lib.concatStrings (lib.mapAttrsToList (name: v: "${name} = ${value name v}\n") given);
}

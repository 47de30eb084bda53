# Types: { name, check, merge }. `check` looks at the surface, `merge` makes one value of definitions
# and refuses what does not fit.
{ lib }:
let
  b = builtins;
  show = b.concatStringsSep ".";
  sample =
    v: if b.isString v || b.isInt v || b.isBool v || v == null then b.toJSON v else "a ${b.typeOf v}";

  refuse =
    name: path: d:
    throw "A definition for option `${show path}' is not of type `${name}'. Definition values: ${sample d.value}, in `${d.file}'";

  one =
    path: definitions:
    let
      first = (b.head definitions).value;
    in
    if b.all (d: d.value == first) definitions then
      first
    else
      throw "The option `${show path}' has conflicting definition values, in ${
        lib.concatMapStringsSep " and " (d: "`${d.file}'") definitions
      }";

  # mergeOneOption of nixpkgs: two definitions are too many, even when they are equal.
  uniq =
    element:
    type element.name (_: true) (
      path: definitions:
      if b.length definitions == 1 then
        element.merge path definitions
      else
        throw "The option `${show path}' is defined multiple times while it's expected to be unique, in ${
          lib.concatMapStringsSep " and " (d: "`${d.file}'") definitions
        }"
    );

  type = name: check: merge: {
    _type = "option-type";
    inherit name check;
    merge =
      path: definitions:
      let
        wrong = b.filter (d: !(check d.value)) definitions;
      in
      if wrong == [ ] then merge path definitions else refuse name path (b.head wrong);
  };
  scalar = name: check: type name check one;
  joined =
    name: separator:
    type name b.isString (_: definitions: lib.concatMapStringsSep separator (d: d.value) definitions);

  between =
    least: most:
    scalar "integer between ${toString least} and ${toString most}" (
      v: b.isInt v && v >= least && v <= most
    );
  matching =
    pattern:
    scalar "string matching the pattern ${pattern}" (v: b.isString v && b.match pattern v != null);
  isDerivation = v: b.isAttrs v && (v.type or null) == "derivation";
  isAbsolute = v: b.isPath v || (b.isString v && lib.hasPrefix "/" v);

  attrsOf =
    element:
    type "attribute set of ${element.name}" b.isAttrs (
      path: definitions:
      let
        # mkIf and mkMerge may stand around the whole set.
        byName = b.zipAttrsWith (_: found: found) (
          map (
            d:
            b.mapAttrs (_: value: {
              inherit (d) file;
              inherit value;
            }) d.value
          ) definitions
        );
        merged = b.mapAttrs (name: lib.mergeDefinitions element (path ++ [ name ])) byName;
      in
      b.mapAttrs (_: m: m.value) (lib.filterAttrs (_: m: m != null) merged)
    );

  listOf =
    element:
    type "list of ${element.name}" b.isList (
      path: definitions:
      b.concatMap (
        d:
        b.concatLists (
          lib.imap0 (
            index: value:
            let
              m = lib.mergeDefinitions element (path ++ [ "[${toString index}]" ]) [
                {
                  inherit (d) file;
                  inherit value;
                }
              ];
            in
            lib.optional (m != null) m.value
          ) d.value
        )
      ) definitions
    );

  submodule =
    module:
    type "submodule" (v: b.isAttrs v || b.isFunction v || b.isPath v) (
      path: definitions:
      (lib.evalModules {
        modules = [
          module
        ]
        ++ map (
          d:
          if b.isAttrs d.value then
            {
              _file = d.file;
              config = d.value;
            }
          else
            d.value
        ) definitions;
        prefix = path;
        specialArgs.name = if path == [ ] then "" else lib.last path;
      }).config
    );

  either =
    left: right:
    type "${left.name} or ${right.name}" (v: left.check v || right.check v) (
      path: definitions:
      if b.all (d: left.check d.value) definitions then
        left.merge path definitions
      else
        right.merge path definitions
    );

  anything = type "anything" (_: true) (
    path: definitions:
    let
      values = map (d: d.value) definitions;
    in
    if b.length values > 1 && b.all (v: b.isAttrs v && !(isDerivation v)) values then
      (attrsOf anything).merge path definitions
    else if b.length values > 1 && b.all b.isList values then
      b.concatLists values
    else
      one path definitions
  );
in
{
  inherit
    anything
    attrsOf
    either
    listOf
    submodule
    uniq
    ;
  unspecified = anything;
  raw = type "raw value" (_: true) one;
  bool = scalar "boolean" b.isBool;
  int = scalar "signed integer" b.isInt;
  float = scalar "floating point number" b.isFloat;
  str = scalar "string" b.isString;
  nonEmptyStr = matching "(.|\n)+";
  strMatching = matching;
  lines = joined "strings concatenated with \"\\n\"" "\n";
  path = scalar "absolute path" isAbsolute;
  package = scalar "package" isDerivation;
  port = between 0 65535;
  ints = {
    inherit between;
    positive = between 1 9223372036854775807;
    unsigned = between 0 9223372036854775807;
  };
  enum = values: scalar "one of ${b.toJSON values}" (v: b.elem v values);
  oneOf = alternatives: b.foldl' either (b.head alternatives) (b.tail alternatives);
  nullOr =
    element:
    type "null or ${element.name}" (v: v == null || element.check v) (
      path: definitions:
      if b.all (d: d.value == null) definitions then null else element.merge path definitions
    );
}

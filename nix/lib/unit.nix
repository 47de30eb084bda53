# A unit file as text, from an evaluated `systemd.services.<name>` (systemd.unit(5), systemd.syntax(7)).
#
# NixOS renders the same definition itself. This one serves machines that are not NixOS: Debian's
# package and guests get their unit from here, so that there is one definition of the unit.
{ lib }:
let
  scalar =
    key: v:
    if builtins.isBool v then
      lib.boolToString v
    else if builtins.isString v || builtins.isInt v then
      toString v
    else
      throw "unit key ${key}: a ${builtins.typeOf v} cannot be written";
  # A list becomes one line for each member, as NixOS does it.
  lines =
    key: v:
    if v == null then
      [ ]
    else if builtins.isList v then
      map (member: "${key}=${scalar key member}") v
    else
      [ "${key}=${scalar key v}" ];
  section =
    name: pairs:
    let
      body = lib.concatMap ({ key, value }: lines key value) pairs;
    in
    lib.optionalString (body != [ ]) "[${name}]\n${lib.concatMapStrings (line: "${line}\n") body}";
  pair = key: value: { inherit key value; };
  # Names of units go on one line.
  words = key: names: pair key (if names == [ ] then null else lib.concatStringsSep " " names);
  sorted = attributes: lib.mapAttrsToList pair attributes;
in
{
  # A path unit -> text.
  renderPath =
    path:
    lib.concatStringsSep "\n" [
      (section "Unit" [ (pair "Description" path.description) ])
      (section "Path" (sorted path.pathConfig))
      (section "Install" [ (words "WantedBy" path.wantedBy) ])
    ];

  # service -> text. `header` is a comment for the reader of the file.
  render =
    { header }:
    service:
    let
      comment = lib.concatMapStrings (line: "# ${line}\n") header;
      environment = lib.mapAttrsToList (
        name: v: pair "Environment" (builtins.toJSON "${name}=${v}")
      ) service.environment;
      sections = [
        (section "Unit" (
          [
            (pair "Description" service.description)
            (words "Documentation" service.documentation)
            (words "Wants" service.wants)
            (words "Requires" service.requires)
            (words "After" service.after)
            (words "Before" service.before)
          ]
          ++ sorted service.unitConfig
        ))
        (section "Service" (environment ++ sorted service.serviceConfig))
        (section "Install" [ (words "WantedBy" service.wantedBy) ])
      ];
    in
    comment + lib.concatStringsSep "\n" (lib.filter (text: text != "") sections);
}

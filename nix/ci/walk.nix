# Every output of the flake, evaluated to the end: { "<path>" = what it is; }. A mistake anywhere is an error.
#
# Derivations are named by their .drv, so everything they are made of was evaluated as well.
{
  outputs ? import ./outputs.nix,
  nixpkgs ? import ./nixpkgs,
}:
let
  b = builtins;
  isDerivation = v: b.isAttrs v && (v.type or null) == "derivation";
  # A configuration is walked through its toplevel, which forces every option.
  leaf =
    v:
    if isDerivation v then
      { text = b.seq v.drvPath "derivation ${v.name}"; }
    else if b.isAttrs v && v ? config && v ? options then
      { text = b.seq v.config.system.build.toplevel.drvPath "NixOS configuration"; }
    else if b.isFunction v then
      { text = "function"; }
    else if b.isPath v then
      { text = b.seq (b.readFileType v) "path"; }
    else if b.isAttrs v && (v ? imports || v ? path || v ? program) then
      {
        text = b.deepSeq (removeAttrs v [ "imports" ]) (
          if v ? program then
            "app"
          else if v ? path then
            "template"
          else if v._class or null == "nixos" && v ? key && v ? _file then
            "NixOS module"
          else
            throw "a module without _class, _file and key"
        );
      }
    else if b.isAttrs v && v ? options then
      { text = "module"; }
    else if b.isAttrs v then
      null
    else
      { text = b.deepSeq v "value"; };
  walk =
    path: v:
    let
      found = leaf v;
    in
    if found != null then
      [
        {
          name = b.concatStringsSep "." path;
          value = found.text;
        }
      ]
    else
      b.concatMap (name: walk (path ++ [ name ]) v.${name}) (b.attrNames v);
  # Templates are flakes of somebody else, with this one as an input.
  template =
    name: walk [ "(template ${name})" ] (import ./template.nix { inherit outputs nixpkgs; } name);
in
b.listToAttrs (walk [ ] outputs ++ b.concatMap template (b.attrNames outputs.templates))

# The unit that Debian gets says the same as the one that NixOS makes, up to paths. Decided by evaluation.
{
  self,
  lib,
  pkgs,
  machine,
  ...
}:
let
  # A machine with the defaults, as Debian's unit is made with them.
  plainMachine = machine [
    self.nixosModules.single-node
    {
      boot.isContainer = true;
      system.stateVersion = "26.05";
    }
  ] { };
  nixos = plainMachine.config.systemd.units."nanocloud.service".text;
  debian = self.lib.unitFiles."nanocloud.service";

  # Lines without comments, sections, environment and the paths of programs.
  isSaid = line: builtins.match "(#|\\[|Environment=|X-|WantedBy=).*" line == null && line != "";
  withoutPath =
    line:
    lib.concatStrings (
      map (part: if builtins.isList part then "nanocloud" else part) (
        builtins.split "/[^ ]*/bin/nanocloud" (builtins.unsafeDiscardStringContext line)
      )
    );
  linesOf = text: map withoutPath (lib.filter isSaid (lib.splitString "\n" text));
  only = these: those: lib.subtractLists (linesOf those) (linesOf these);
in
pkgs.runCommand "nanocloud-unit-text" { } (
  if only debian nixos == [ ] && only nixos debian == [ ] then
    "echo ${toString (lib.length (linesOf debian))} lines are the same >$out"
  else
    throw "the units differ; only Debian's has ${builtins.toJSON (only debian nixos)}, only NixOS' has ${builtins.toJSON (only nixos debian)}"
)

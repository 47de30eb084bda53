# Unit tests of the modules, with the real nixpkgs.lib.
{
  self,
  lib,
  pkgs,
  ...
}:
let
  inherit (self.lib.unitTests) count failures;
in
pkgs.runCommand "nanocloud-module-tests" { } (
  if failures == [ ] then
    "echo ${toString count} tests passed >$out"
  else
    throw "module tests failed: ${builtins.toJSON failures}"
)

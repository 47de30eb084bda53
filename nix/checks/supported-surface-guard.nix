# Nothing unfinished on the supported surface.
{ lib, pkgs, ... }:
let
  source = lib.fileset.toSource {
    root = ../..;
    fileset = lib.fileset.unions [
      ../../crates
      ../../dockyard
      ../../docs
      ../../flake.nix
      ../../nix
      ../../scripts
      ../../Makefile
      ../../README.md
      ../../ARCHITECTURE.md
      ../../SECURITY.md
    ];
  };
in
pkgs.runCommand "nanocloud-supported-surface-guard" { nativeBuildInputs = [ pkgs.python3 ]; } ''
  python3 ${source}/nix/ci/surface_guard.py ${source} >$out || { cat $out; exit 1; }
''

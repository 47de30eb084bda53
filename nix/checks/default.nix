# Checks of the flake: every file of this folder is one; its name is the check's.
#
# A file is a function of { self, lib, pkgs, ours, machine, ... } and gives a derivation.
arguments@{ lib, ours, ... }:
let
  files = removeAttrs (ours.files.nixFilesIn ./.) [ "default" ];
in
lib.mapAttrs (_: path: import path arguments) files

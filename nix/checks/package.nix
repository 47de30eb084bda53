# The binary as nixpkgs builds it.
{ pkgs, ... }: pkgs.nanocloud

# A template of the flake as its user has it after the first edit: with a key that may log in.
{ outputs, nixpkgs }:
name:
let
  key.services.nanocloud.adminKeys = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAexample of a test" ];
  withKey = module: {
    imports = [
      module
      key
    ];
  };
  installed = [
    "bare-metal-control-plane"
    "bare-metal-worker"
  ];
  nanocloud = outputs // {
    nixosModules =
      outputs.nixosModules
      // builtins.listToAttrs (
        map (profile: {
          name = profile;
          value = withKey outputs.nixosModules.${profile};
        }) installed
      );
  };
  flake = (import (outputs.templates.${name}.path + "/flake.nix")).outputs {
    inherit nixpkgs nanocloud;
    self = flake;
  };
in
flake

# The modules other flakes import.
{
  self,
  lib,
  disko,
  ...
}:
{
  # Options and units alone; the package comes from the caller's pkgs.
  nanocloud = ./default.nix;

  # With this flake's package. No nixpkgs.overlays here: nodes of the NixOS test framework have
  # read-only packages.
  default =
    { pkgs, ... }:
    {
      imports = [ self.nixosModules.nanocloud ];
      services.nanocloud.package =
        lib.mkDefault
          self.packages.${pkgs.stdenv.hostPlatform.system}.nanocloud;
    };

  single-node = ../profiles/single-node.nix;
  ha-control-plane = ../profiles/ha-control-plane.nix;
  bare-metal-control-plane = {
    imports = [
      disko.nixosModules.disko
      ../profiles/bare-metal/control-plane.nix
    ];
  };
  bare-metal-worker = {
    imports = [
      disko.nixosModules.disko
      ../profiles/bare-metal/worker.nix
    ];
  };
}

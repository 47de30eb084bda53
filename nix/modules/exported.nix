# The modules other flakes import. Each can be imported alone, and twice: modules of one key are one module.
{
  self,
  lib,
  disko,
  ...
}:
let
  exported =
    name: module:
    {
      _class = "nixos";
      _file = "${toString ./exported.nix}#${name}";
      key = "nanocloud.nixosModules.${name}";
    }
    // module;
  # A profile brings the module with it.
  profile = name: modules: exported name { imports = [ self.nixosModules.default ] ++ modules; };

  # No nixpkgs.overlays here: nodes of the NixOS test framework have read-only packages.
  withPackages =
    { config, pkgs, ... }:
    let
      cfg = config.services.nanocloud;
      packages = self.packages.${pkgs.stdenv.hostPlatform.system};
      imageOf = service: "image-${lib.replaceStrings [ "/" ] [ "-" ] service}";
      declared = lib.filter (bundle: bundle.image == null) (lib.attrValues cfg.bundles);
      services = lib.unique (map (bundle: bundle.service) declared);
      made = lib.filter (service: packages ? ${imageOf service}) services;
    in
    {
      services.nanocloud = {
        package = lib.mkDefault packages.nanocloud;
        catalog = lib.genAttrs made (service: lib.mkDefault packages.${imageOf service});
      };
    };
in
{
  # Options and units alone; the package comes from the caller's pkgs, images from whoever names them.
  nanocloud = exported "nanocloud" { imports = [ ./default.nix ]; };

  # With this flake's package and images of the declared services.
  default = exported "default" {
    imports = [
      self.nixosModules.nanocloud
      withPackages
    ];
  };

  single-node = profile "single-node" [ ../profiles/single-node.nix ];
  ha-control-plane = profile "ha-control-plane" [ ../profiles/ha-control-plane.nix ];
  bare-metal-control-plane = profile "bare-metal-control-plane" [
    disko.nixosModules.disko
    ../profiles/bare-metal/control-plane.nix
  ];
  bare-metal-worker = profile "bare-metal-worker" [
    disko.nixosModules.disko
    ../profiles/bare-metal/worker.nix
  ];
}

# The profiles keep what they promise: nobody changes a role, a port or a member unnoticed.
{
  self,
  lib,
  pkgs,
  machine,
  ...
}:
let
  of = name: self.nixosConfigurations.${name}.config.services.nanocloud;
  servers = [
    "node01"
    "node02"
    "node03"
  ];
  declaring =
    bundles:
    machine [
      self.nixosModules.single-node
      { services.nanocloud = { inherit bundles; }; }
    ] { };
  template = import ../templates/single-node/configuration.nix;
  hardware = import ../templates/single-node/hardware.nix;
  inherit (template.services.nanocloud) bundles;
  installing = lib.findFirst (
    package: lib.getName package == "nanocloud-install"
  ) null self.nixosConfigurations.installer.config.environment.systemPackages;
  untilBegin = lib.head (lib.splitString "install.begin" installing.text);
  lockedOut =
    keys:
    lib.any (a: !a.assertion && lib.hasInfix "nanocloud.adminKeys" a.message)
      (machine [
        self.nixosModules.bare-metal-control-plane
        {
          services.nanocloud.adminKeys = keys;
          system.stateVersion = "26.05";
        }
      ] { }).config.assertions;
  promises = {
    "images of declared services come with the module" =
      lib.attrNames (declaring { redis = { }; }).config.services.nanocloud.catalog == [ "redis" ];
    "the template's services have images" =
      lib.attrNames (declaring bundles).config.services.nanocloud.catalog
      == lib.sort (a: b: a < b) (lib.mapAttrsToList (name: bundle: bundle.service or name) bundles);
    "images say the version of the package in them" =
      pkgs.nanocloudImages.image-redis.imageTag == pkgs.redis.version
      && pkgs.nanocloudImages.image-mariadb.imageTag == pkgs.mariadb_1011.version;
    "the template's boot loader outlives a new hardware.nix" =
      !(hardware ? boot.loader) && template ? boot.loader;
    "an installation looks for UEFI before it touches the disk" =
      lib.hasInfix "/sys/firmware/efi" untilBegin && lib.hasInfix "udevadm settle" untilBegin;
    "an installed machine has a way in" = lockedOut [ ] && !(lockedOut [ "ssh-ed25519 AAAA test" ]);
    "the medium shows its work on the screen and on the serial line" =
      lib.filter (lib.hasPrefix "console=") self.nixosConfigurations.installer.config.boot.kernelParams
      == [
        "console=tty0"
        "console=ttyS0,115200"
      ];
    "a module may be imported twice" =
      (machine (lib.genList (_: self.nixosModules.ha-control-plane) 2) { })
      .config.services.nanocloud.certificateNames == [ "nixos" ];
    "each module may be imported alone" = lib.all (
      name:
      builtins.isBool
        (lib.nixosSystem {
          modules = [
            self.nixosModules.${name}
            { nixpkgs.hostPlatform = "x86_64-linux"; }
          ];
        }).config.services.nanocloud.enable
    ) (lib.attrNames self.nixosModules);
    "single-node is a server of its own" =
      (of "single-node").role == "server" && (of "single-node").join.file == null;
    "the control plane has three servers of one cluster" =
      lib.all (name: (of name).role == "server") servers
      && lib.allUnique (map (name: (of name).nodeName) servers);
    "only node01 makes the cluster" =
      map (name: (of name).join.file != null) servers == [
        false
        true
        true
      ];
    "members reach each other where the cluster says" = lib.all (
      name: lib.hasPrefix (of name).cluster.nodes.${name}.address (of name).settings.peer_address
    ) servers;
    "every configuration that the cluster names is there" = lib.all (
      class: self.nixosConfigurations ? ${class.configuration}
    ) (lib.attrValues (of "node01").cluster.classes);
    "only node01 applies what is declared" =
      map (name: (of name).apply.enable) servers == [
        true
        false
        false
      ];
    "the worker is an agent" = (of "worker01").role == "agent";
    "all machines hold the same cluster" = lib.all (
      name:
      self.nixosConfigurations.${name}.config.environment.etc."nanocloud/cluster.json".text
      == self.nixosConfigurations.node01.config.environment.etc."nanocloud/cluster.json".text
    ) (servers ++ [ "worker01" ]);
    "installed machines name their disk by id" = lib.all (
      name: lib.hasPrefix "/dev/disk/by-id/" (of name).installDisk
    ) (servers ++ [ "worker01" ]);
  };
  broken = lib.attrNames (lib.filterAttrs (_: kept: !kept) promises);
in
pkgs.runCommand "nanocloud-profile-guards" { } (
  if broken == [ ] then
    "echo ${toString (lib.length (lib.attrNames promises))} promises kept >$out"
  else
    throw "profiles break: ${lib.concatStringsSep "; " broken}"
)

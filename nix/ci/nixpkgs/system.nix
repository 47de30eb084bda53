# Options of whole machines that the profiles set, and the outputs that depend on all of them.
{ lib, config, ... }:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  flag = option types.bool false;
  any = option types.anything { };
  port = types.submodule {
    options = {
      from = option (types.enum [
        "host"
        "guest"
      ]) "host";
      proto = option (types.enum [
        "tcp"
        "udp"
      ]) "tcp";
      host.address = option types.str "";
      host.port = mkOption { type = types.port; };
      guest.address = option types.str "";
      guest.port = mkOption { type = types.port; };
    };
  };
  secret = option (types.nullOr types.str) null;
  user = {
    options = {
      group = option types.str "";
      extraGroups = option (types.listOf types.str) [ ];
      hashedPassword = secret;
      hashedPasswordFile = secret;
      initialHashedPassword = secret;
      initialPassword = secret;
      password = secret;
      openssh.authorizedKeys.keys = option (types.listOf types.str) [ ];
      openssh.authorizedKeys.keyFiles = option (types.listOf types.path) [ ];
    };
  };
  unit = import ../../lib/unit.nix { inherit lib; };
  failed = builtins.filter (a: !a.assertion) config.assertions;
  # A derivation that exists only if every option of the machine has a sound value.
  whole =
    name:
    if failed != [ ] then
      throw "Failed assertions:\n${lib.concatMapStringsSep "\n" (a: "- ${a.message}") failed}"
    else
      builtins.deepSeq (removeAttrs config [ "system" ]) (
        builtins.seq config.system.stateVersion (derivation {
          inherit name;
          system = config.nixpkgs.hostPlatform;
          builder = "/bin/sh";
          args = [
            "-c"
            "echo this is a stand-in >$out"
          ];
        })
      );
in
{
  options = {
    nixpkgs.overlays = option (types.listOf types.unspecified) [ ];
    nixpkgs.hostPlatform = mkOption { type = types.str; };
    system.stateVersion = mkOption { type = types.str; };
    system.build = any;
    systemd.units = any;

    services.openssh = {
      enable = flag;
      settings = any;
    };
    services.getty.autologinUser = option (types.nullOr types.str) null;
    users.allowNoPasswordLogin = flag;
    users.users = option (types.attrsOf (types.submodule user)) { };
    hardware.enableRedistributableFirmware = flag;
    fileSystems = option (types.attrsOf types.anything) { };

    boot.isContainer = flag;
    boot.supportedFilesystems = option (types.attrsOf types.bool) { };
    boot.loader.systemd-boot.enable = flag;
    boot.loader.efi.canTouchEfiVariables = flag;
    boot.initrd.availableKernelModules = option (types.listOf types.str) [ ];
    boot.kernelParams = option (types.listOf types.str) [ ];

    virtualisation = {
      memorySize = option types.ints.positive 1024;
      cores = option types.ints.positive 1;
      diskSize = option types.ints.positive 1024;
      graphics = option types.bool true;
      forwardPorts = option (types.listOf port) [ ];
      emptyDiskImages = option (types.listOf types.ints.positive) [ ];
      vlans = option (types.listOf types.ints.unsigned) [ 1 ];
    };
    image.baseName = option types.str "nixos";
    isoImage.storeContents = option (types.listOf types.package) [ ];
  };

  # NixOS makes a file of each service.
  config.systemd.units = lib.mapAttrs' (
    name: service: lib.nameValuePair "${name}.service" { text = unit.render { header = [ ]; } service; }
  ) config.systemd.services;

  config.system.build = {
    toplevel = whole "nixos-system-${config.networking.hostName}";
    vm = whole "nixos-vm" // {
      meta.mainProgram = "run-nixos-vm";
    };
    isoImage = whole "${config.image.baseName}.iso";
    destroyFormatMount = whole "disko-destroy-format-mount" // {
      meta.mainProgram = "disko-destroy-format-mount";
    };
  };
  config.users.users.root = { };
}

# The NixOS options that nix/ sets, with their types in nixpkgs. Nothing may be declared here that is
# not an option of the pinned nixpkgs: a mistake here would hide a mistake there.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  anyOf = option (types.attrsOf types.anything) { };
  flag = option types.bool false;
  strings = option (types.listOf types.str) [ ];
  ports = option (types.listOf types.port) [ ];
  unitName = types.strMatching "[a-zA-Z0-9@%:_.\\-]+[.](service|target|mount|slice|socket|timer|path)";
  units = option (types.listOf unitName) [ ];
  # systemd's scalars; a list stands for several lines.
  atom = types.oneOf [
    types.bool
    types.int
    types.str
    types.path
    types.package
  ];
  sysctl = types.nullOr (
    types.oneOf [
      types.bool
      types.int
      types.str
    ]
  );
  section = option (types.attrsOf (types.either atom (types.listOf atom))) { };

  service = {
    options = {
      enable = option types.bool true;
      description = option types.str "";
      documentation = strings;
      wantedBy = units;
      requiredBy = units;
      wants = units;
      requires = units;
      bindsTo = units;
      conflicts = units;
      after = units;
      before = units;
      path = option (types.listOf (types.either types.package types.str)) [ ];
      environment = option (types.attrsOf (
        types.nullOr (
          types.oneOf [
            types.str
            types.path
            types.package
          ]
        )
      )) { };
      restartTriggers = option (types.listOf types.unspecified) [ ];
      reloadTriggers = option (types.listOf types.unspecified) [ ];
      restartIfChanged = option types.bool true;
      stopIfChanged = option types.bool true;
      script = option types.lines "";
      unitConfig = section;
      serviceConfig = section;
    };
  };

  path = {
    options = {
      description = option types.str "";
      wantedBy = units;
      pathConfig = section;
    };
  };

  firewallPorts = {
    allowedTCPPorts = ports;
    allowedUDPPorts = ports;
  };
  file =
    { config, name, ... }:
    {
      options = {
        enable = option types.bool true;
        mode = option types.str "symlink";
        text = option (types.nullOr types.lines) null;
        source = mkOption { type = types.path; };
      };
      config.source = lib.mkIf (config.text != null) (
        lib.mkDefault (builtins.toFile (lib.replaceStrings [ "/" ] [ "-" ] name) config.text)
      );
    };
  tmpfile = {
    options = {
      mode = option types.str "-";
      user = option types.str "-";
      group = option types.str "-";
      age = option types.str "-";
      argument = option types.str "";
    };
  };
in
{
  options = {
    assertions = option (types.listOf types.unspecified) [ ];
    warnings = strings;

    networking.hostName = option types.str "nixos";
    networking.useDHCP = option types.bool true;
    networking.useNetworkd = flag;
    networking.dhcpcd.denyInterfaces = strings;
    networking.networkmanager.enable = flag;
    networking.nftables.enable = flag;
    networking.nftables.flushRuleset = flag;
    systemd.network.networks = anyOf;
    networking.firewall = firewallPorts // {
      enable = option types.bool true;
      checkReversePath = option (types.either types.bool (
        types.enum [
          "strict"
          "loose"
        ]
      )) true;
      interfaces = option (types.attrsOf (types.submodule { options = firewallPorts; })) { };
    };

    boot.kernel.sysctl = option (types.attrsOf (types.uniq sysctl)) { };
    boot.kernelModules = strings;

    environment.systemPackages = option (types.listOf types.package) [ ];
    environment.etc = option (types.attrsOf (types.submodule file)) { };

    security.lockKernelModules = flag;
    systemd.paths = option (types.attrsOf (types.submodule path)) { };
    systemd.services = option (types.attrsOf (types.submodule service)) { };
    # configuration name -> path -> type of line -> fields
    systemd.tmpfiles.settings = option (types.attrsOf (
      types.attrsOf (types.attrsOf (types.submodule tmpfile))
    )) { };

    services.timesyncd.enable = flag;
    security.apparmor = {
      enable = flag;
      policies = anyOf;
    };
  };

  # What NixOS defines itself, with its own priorities (nixos/modules/config/sysctl.nix).
  config.boot.kernel.sysctl = {
    "fs.inotify.max_user_instances" = lib.mkDefault 524288;
    "fs.inotify.max_user_watches" = lib.mkDefault 524288;
    "kernel.kptr_restrict" = lib.mkDefault 1;
    "vm.max_map_count" = lib.mkDefault 1048576;
  };
}

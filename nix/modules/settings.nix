# /etc/nanocloud/config.toml: what `nanocloud config check` reads and prints.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
  inherit (lib) mkOption types;
  toml = import ../lib/toml.nix { inherit lib; };
  # The names the binary knows; crates/nanocloud/tests reads nix/ci/golden/config.toml.
  optional =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  scalar = types.oneOf [
    types.bool
    types.int
    types.float
    types.str
  ];
in
{
  options.services.nanocloud = {
    settings = mkOption {
      default = { };
      description = ''
        Settings of the server, as in {file}`/etc/nanocloud/config.toml`. What other options of this
        module say is a default here: a definition wins over it. `null` leaves a setting to the program's default; a name that the
        program does not know ends it with exit code 64; docs/settings.md lists them all.
      '';
      type = types.submodule {
        freeformType = types.attrsOf (types.nullOr (types.either scalar (types.listOf scalar)));
        options = {
          binding_apparmor = optional (types.enum [
            "auto"
            "require"
            "disable"
          ]) "Whether binding commands run only under AppArmor, when it is there, or without.";
          binding_gid = optional types.ints.unsigned "Group of binding commands.";
          binding_uid = optional types.ints.unsigned "User of binding commands.";
          binding_timeout = optional (types.strMatching "[1-9][0-9]*[smh]") "Longest run of a binding command, such as `90s`.";
          image_high_percent = optional (types.ints.between 1 100) "Share of the disk above which unused images are removed.";
          image_low_percent = optional (types.ints.between 0 99) "Share of the disk until which they are removed.";
          log = optional types.str "What is logged, such as `info` or `kubelet=debug`.";
          log_format = optional (types.enum [
            "text"
            "json"
          ]) "Form of log lines.";
          pod_host_ports = optional (types.strMatching "([0-9]{1,5}/(tcp|udp|sctp)(,[0-9]{1,5}/(tcp|udp|sctp))*)?") "Ports of the host that pods may reach beside names and published ports, such as `6443/tcp,123/udp`.";
          registry = optional types.str "Registry of services that name no image.";
          require_client_certificate = optional types.bool "Whether clients without a certificate are refused.";
        };
      };
    };

    nodeName = mkOption {
      type = types.strMatching "[a-z0-9]([-a-z0-9.]*[a-z0-9])?";
      default = config.networking.hostName;
      defaultText = lib.literalExpression "config.networking.hostName";
      description = "Name of this node in the cluster (RFC 1123, lower case).";
    };

    arguments = mkOption {
      type = types.listOf types.str;
      default = [ ];
      internal = true;
      description = "Arguments of the server, collected from the other files of this module.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.nanocloud.settings.node = lib.mkDefault cfg.nodeName;
    environment.etc."nanocloud/config.toml".text = toml.flat cfg.settings;

    assertions = [
      {
        assertion = builtins.stringLength cfg.nodeName <= 253;
        message = "services.nanocloud.nodeName: a name has at most 253 characters (RFC 1123).";
      }
    ];
  };
}

# How a machine becomes part of a cluster: the first server makes keys, the others bring a token.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
  inherit (lib) mkOption types;
  program = lib.getExe' cfg.package "nanocloud";
  joins = cfg.join.server != null;
in
{
  options.services.nanocloud = {
    join = {
      server = mkOption {
        type = types.nullOr (types.strMatching "https://[^/]+(:[0-9]+)?");
        default = null;
        example = "https://node01:6443";
        description = "A server of the cluster to join; `null` makes this server the first of a new cluster.";
      };

      tokenFile = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "/run/keys/nanocloud-join";
        description = ''
          File with the single-use token that admits this machine (`nanocloud token`). systemd hands
          it on as a credential: it is neither in the Nix store nor in the unit.
        '';
      };
    };

    certificateNames = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "cloud.example.org" ];
      description = "More names and addresses that the API's certificate is for.";
    };

    retention = mkOption {
      type = types.ints.between 1 1000;
      default = 5;
      description = "Backups kept of each service, until the cluster's own setting says otherwise.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.role == "agent" -> joins;
        message = "services.nanocloud.join.server: an agent needs a server to join.";
      }
      {
        assertion = joins -> cfg.join.tokenFile != null;
        message = "services.nanocloud.join.tokenFile: joining ${toString cfg.join.server} needs a token.";
      }
      {
        assertion = cfg.join.tokenFile != null -> joins;
        message = "services.nanocloud.join.server: a token is given, but no server to join.";
      }
      {
        assertion =
          cfg.join.tokenFile != null
          -> lib.hasPrefix "/" cfg.join.tokenFile && !(lib.hasPrefix "/nix/" cfg.join.tokenFile);
        message = "services.nanocloud.join.tokenFile: it must be an absolute path outside of the Nix store, which everybody can read.";
      }
    ];

    services.nanocloud.arguments = lib.mkIf joins [
      "--join ${cfg.join.server}"
      "--token-file %d/join-token"
    ];

    systemd.services.nanocloud.serviceConfig = lib.mkMerge [
      (lib.mkIf joins { LoadCredential = "join-token:${cfg.join.tokenFile}"; })
      (lib.mkIf (!joins) {
        # Keys and folders of a first server. Changes nothing that is there; issues no token, since
        # its output would be the journal.
        ExecStartPre = lib.concatStringsSep " " (
          [ "${program} setup --no-token --retention ${toString cfg.retention}" ]
          ++ map (name: "--name ${lib.escapeShellArg name}") cfg.certificateNames
        );
      })
    ];
  };
}

# How a machine becomes part of a cluster: the first server makes keys, the others bring a word.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
  inherit (lib) mkOption types;
  program = lib.getExe' cfg.package "nanocloud";
  joins = cfg.join.file != null;
  address = import ../lib/address.nix { inherit lib; };
  hasPeers = cfg.peer.port != null;
in
{
  options.services.nanocloud = {
    join.file = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "/var/lib/nanocloud-join";
      description = ''
        File with the word that admits this machine, as `nanocloud member add` prints it on a server of
        the cluster: it names servers, their authority and a single-use token. `null` makes this
        machine the first server of a new cluster. systemd hands the file on as a credential: the
        word is neither in the Nix store nor in the unit. A machine without the file waits for it: its
        unit is not started, and starts when the file is written. It is looked at until the machine
        has joined; afterwards the file may be emptied, but must be there.
      '';
    };

    peer = {
      port = mkOption {
        type = types.nullOr types.port;
        default = null;
        example = 6444;
        description = "Port for the other members of the cluster; `null` for a machine that stays alone.";
      };

      address = mkOption {
        type = types.str;
        default = cfg.nodeName;
        defaultText = lib.literalExpression "config.services.nanocloud.nodeName";
        description = "Name or address at which the others reach this machine.";
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
        message = "services.nanocloud.join.file: an agent joins a cluster; it needs the word for that.";
      }
      {
        assertion = joins -> hasPeers;
        message = "services.nanocloud.peer.port: a machine that joins needs a port for the other members.";
      }
      {
        assertion = joins -> lib.hasPrefix "/" cfg.join.file && !(lib.hasPrefix "/nix/" cfg.join.file);
        message = "services.nanocloud.join.file: it must be an absolute path outside of the Nix store, which everybody can read.";
      }
      {
        assertion = hasPeers -> !(address.isLoopback cfg.listenAddress);
        message = "services.nanocloud.listenAddress: other members cannot reach ${cfg.listenAddress}.";
      }
    ];

    services.nanocloud.settings = lib.mkIf hasPeers {
      peer_listen = lib.mkDefault (address.withPort cfg.listenAddress cfg.peer.port);
      peer_address = lib.mkDefault (address.withPort cfg.peer.address cfg.peer.port);
      api_url = lib.mkDefault "https://${address.withPort cfg.peer.address cfg.port}";
    };

    services.nanocloud.arguments = lib.mkIf joins [ "--join-file %d/join" ];

    networking.firewall.allowedTCPPorts = lib.optional (cfg.openFirewall && hasPeers) cfg.peer.port;

    # Not started without its word, instead of failing for ever. One that has joined and lost the file fails.
    systemd.services.nanocloud.unitConfig.ConditionPathExists = lib.mkIf joins [
      "|${cfg.join.file}"
      "|${cfg.stateRoot}/member.json"
    ];
    systemd.paths.nanocloud-join = lib.mkIf joins {
      description = "the word that admits this machine to a cluster";
      wantedBy = [ "multi-user.target" ];
      pathConfig = {
        PathChanged = cfg.join.file;
        Unit = "nanocloud.service";
      };
    };

    systemd.services.nanocloud.serviceConfig = lib.mkMerge [
      (lib.mkIf joins { LoadCredential = "join:${cfg.join.file}"; })
      (lib.mkIf (!joins) {
        # Keys and folders of a first server. Changes nothing that is there; issues no token, since
        # its output would be the journal.
        ExecStartPre = lib.concatStringsSep " " (
          [ "${program} setup --no-token --retention ${toString cfg.retention}" ]
          ++ map (name: "--name ${lib.escapeShellArg name}") (
            lib.unique (cfg.certificateNames ++ lib.optional hasPeers cfg.peer.address)
          )
        );
      })
    ];
  };
}

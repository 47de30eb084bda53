# The unit: what is started, how it says that it is ready, and what happens when it ends.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.nanocloud;
  program = lib.getExe' cfg.package "nanocloud";
in
{
  options.services.nanocloud = {
    enable = lib.mkEnableOption "nanocloud, a small-server platform with a Kubernetes-style API";

    package = lib.mkPackageOption pkgs "nanocloud" { };

    role = lib.mkOption {
      type = lib.types.enum [
        "server"
        "agent"
      ];
      default = "server";
      description = ''
        What this machine is for. A `server` makes a cluster or joins one. An `agent` joins one to run
        pods. Both run the same program: whoever joins holds a copy of the keyspace, and the
        cluster gives votes to an odd number of its members, five at most.
      '';
    };

    runPods = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = ''
        Whether pods run on this machine. A server without pods makes no containers, and its unit is
        confined much further.
      '';
    };

    extraPath = lib.mkOption {
      type = lib.types.listOf lib.types.package;
      default = [ ];
      description = "Packages whose programs the server may call, beside those it always needs.";
    };

    environment = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      example = {
        RUST_BACKTRACE = "1";
      };
      description = "Environment of the server. Secrets do not belong here: the unit is world-readable.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.role == "agent" -> cfg.runPods;
        message = "services.nanocloud.runPods: an agent that runs no pods has nothing to do.";
      }
    ];

    # Said only when it is not the program's default.
    services.nanocloud.settings.agent = lib.mkIf (!cfg.runPods) (lib.mkDefault false);

    environment.systemPackages = [ cfg.package ];

    # Loaded where the machine uses AppArmor; commands of bindings enter it.
    security.apparmor.policies = lib.mkIf cfg.runPods {
      nanocloud-bindings = {
        state = "enforce";
        profile = builtins.readFile ../../packaging/apparmor/nanocloud-bindings;
      };
    };

    systemd.services.nanocloud = {
      description = "nanocloud ${cfg.role}";
      documentation = [
        "man:nanocloud(1)"
        "man:nanocloud-server(1)"
      ];
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [
        "network-online.target"
        "nftables.service"
        "firewall.service"
        "apparmor.service"
      ];
      # iproute2 and util-linux are for people who debug in the unit's environment; nft is called.
      path = [
        pkgs.nftables
        pkgs.iproute2
        pkgs.util-linux
        pkgs.cryptsetup
        pkgs.e2fsprogs
      ]
      ++ cfg.extraPath;
      inherit (cfg) environment;
      # One restart by the new configuration; not a stop before the machine is changed and a start after.
      stopIfChanged = false;
      restartTriggers = [ config.environment.etc."nanocloud/config.toml".source ];
      # A node that keeps failing is tried forever, at a pace that does no harm.
      unitConfig.StartLimitIntervalSec = 0;

      serviceConfig = {
        # READY=1 is sent when the API answers and the node's own parts run (sd_notify(3)).
        Type = "notify";
        NotifyAccess = "main";
        # Opening a large keyspace after a power cut replays its log.
        TimeoutStartSec = "5min";
        TimeoutStopSec = "1min";

        ExecStart = lib.concatStringsSep " " ([ "${program} server" ] ++ cfg.arguments);

        Restart = "always";
        RestartSec = 2;
        # Wrong configuration, a kernel that lacks something, missing rights: trying again does not help.
        RestartPreventExitStatus = [
          64
          71
          77
        ];

        # Containers and their shims outlive the server; the next start adopts them. Only the main
        # process is ended, and its leftovers are expected.
        KillMode = "process";
        OOMPolicy = "continue";
        TasksMax = "infinity";
        # Whatever it is asked to do, the server takes no more than half of the machine. Containers have
        # control groups of their own; those of them that are to be limited name their limit.
        MemoryMax = lib.mkDefault "50%";
        LimitNOFILE = 1048576;
        LimitNPROC = "infinity";
        LimitCORE = 0;
      };
    };
  };
}

# Where things live. State survives the package; the run directory survives a restart of the server.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
  inherit (lib) mkOption types;
  absolute = types.strMatching "/[^\n ]*";
  standardState = "/var/lib/nanocloud.io";
  standardRun = "/run/nanocloud";
in
{
  options.services.nanocloud = {
    stateRoot = mkOption {
      type = absolute;
      default = standardState;
      description = "Everything that must survive a reboot: keys, keyspace, images, volumes.";
    };

    runRoot = mkOption {
      type = absolute;
      default = standardRun;
      description = "Sockets and secrets of containers; on a tmpfs.";
    };

    volumesRoot = mkOption {
      type = types.nullOr absolute;
      default = null;
      description = "Root of volumes, when they lie on another disk than {option}`stateRoot`.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.stateRoot != cfg.runRoot && !(lib.hasPrefix "${cfg.runRoot}/" "${cfg.stateRoot}/");
        message = "services.nanocloud.stateRoot: it lies in runRoot, which is lost at every reboot.";
      }
      {
        assertion = !(lib.hasPrefix "/nix/" cfg.stateRoot);
        message = "services.nanocloud.stateRoot: the Nix store is readable by everybody; choose a path outside.";
      }
    ];

    services.nanocloud.settings = {
      state_root = lib.mkDefault cfg.stateRoot;
      run_root = lib.mkDefault cfg.runRoot;
      csi_root = lib.mkDefault cfg.volumesRoot;
    };

    systemd.services.nanocloud = {
      unitConfig.RequiresMountsFor = [
        cfg.stateRoot
      ]
      ++ lib.optional (cfg.volumesRoot != null) cfg.volumesRoot;
      serviceConfig = {
        # The server itself keeps everything that is not public at 0700 below.
        StateDirectory = lib.mkIf (cfg.stateRoot == standardState) "nanocloud.io";
        StateDirectoryMode = lib.mkIf (cfg.stateRoot == standardState) "0711";
        RuntimeDirectory = lib.mkIf (cfg.runRoot == standardRun) "nanocloud";
        RuntimeDirectoryMode = lib.mkIf (cfg.runRoot == standardRun) "0711";
        # Without this a stop would delete the sockets of running containers.
        RuntimeDirectoryPreserve = lib.mkIf (cfg.runRoot == standardRun) true;
      };
    };

    systemd.tmpfiles.settings."10-nanocloud" = {
      # Aged files there are none of tmpfiles' business (tmpfiles.d(5), type x).
      ${cfg.runRoot}.x = { };
    }
    // lib.optionalAttrs (cfg.stateRoot != standardState) {
      ${cfg.stateRoot}.d = {
        mode = "0711";
        user = "root";
        group = "root";
      };
    };
  };
}

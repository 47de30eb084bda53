# Sends what the configuration declares to the API once the server is ready.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
  inherit (lib) mkOption types;
  program = lib.getExe' cfg.package "nanocloud";
  file = "nanocloud/declared.json";
  merge = lib.optionalString cfg.apply.serverSide " --server-side --field-manager nix --force-conflicts";
  hardening = import ./hardening-of-clients.nix;
in
{
  options.services.nanocloud.apply = {
    enable = mkOption {
      type = types.bool;
      default = cfg.role == "server" && cfg.join.file == null;
      defaultText = lib.literalExpression ''role == "server" && join.file == null'';
      description = ''
        Whether this machine applies the declared objects. One machine of a cluster is enough; by
        default it is the one that made the cluster.
      '';
    };

    serverSide = mkOption {
      type = types.bool;
      default = true;
      description = ''
        Whether the server merges, under the field manager `nix`: a declared field gets its value,
        whoever set it before; fields that only others set stay theirs; a field that is taken out of
        the configuration goes, unless others set it too. Without it the declared fields are set by a
        merge patch, and one that is taken out keeps its value.
      '';
    };

    objects = mkOption {
      type = types.listOf (types.attrsOf types.anything);
      default = [ ];
      internal = true;
      description = "Objects to apply, collected from the other files of this module.";
    };
  };

  config = lib.mkIf (cfg.enable && cfg.apply.enable) {
    environment.etc.${file}.text = builtins.toJSON {
      apiVersion = "v1";
      kind = "List";
      items = cfg.apply.objects;
    };

    # It runs with nothing declared, too: what was declared before has to go.
    systemd.services.nanocloud-apply = {
      description = "apply what the configuration declares to nanocloud";
      documentation = [ "man:nanocloud-apply(1)" ];
      wantedBy = [ "multi-user.target" ];
      # Not requires: a first start that fails would end this unit's job, and nothing would start it again
      # when the server is up. It tries until the server answers.
      wants = [ "nanocloud.service" ];
      after = [ "nanocloud.service" ];
      restartTriggers = [ config.environment.etc.${file}.source ];
      serviceConfig = hardening // {
        Type = "oneshot";
        RemainAfterExit = true;
        # The state root says which server is meant, and with whose key.
        ExecStart = "${program} --state-root ${cfg.stateRoot} apply${merge} --apply-set nix --filename /etc/${file}";
        # The administrator's key, readable by root only.
        ReadOnlyPaths = [ cfg.stateRoot ];
        Restart = "on-failure";
        RestartSec = 5;
        TimeoutStartSec = "2min";
      };
    };
  };
}

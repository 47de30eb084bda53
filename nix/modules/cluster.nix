# services.nanocloud.cluster: the cluster as one document, the same on every machine of it.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
  cluster = import ../lib/cluster-schema.nix { inherit lib; };
  declared = cfg.cluster != null;
in
{
  options.services.nanocloud.cluster = lib.mkOption {
    type = lib.types.nullOr (lib.types.submodule cluster.module);
    default = null;
    description = ''
      The whole cluster: nodes, classes, pools, rollouts, placement. It is written to
      {file}`/etc/nanocloud/cluster.json`; `nanocloud cluster check` reads it.
    '';
  };

  config = lib.mkIf (cfg.enable && declared) {
    assertions = cluster.assertions "services.nanocloud.cluster" cfg.cluster ++ [
      {
        assertion = cfg.cluster.nodes ? ${cfg.nodeName};
        message = "services.nanocloud.cluster.nodes: this machine, ${cfg.nodeName}, is not among them.";
      }
    ];
    environment.etc."nanocloud/cluster.json".text = cluster.toJSON cfg.cluster;
  };
}

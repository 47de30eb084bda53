# One of three servers, node01 to node03. node01 makes the cluster, the others join it.
#
# Each machine sets services.nanocloud.nodeName through its host name, and the two that join set
# services.nanocloud.join.tokenFile.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
  first = "node01";
in
{
  services.nanocloud = {
    enable = true;
    role = "server";
    listenAddress = lib.mkDefault "0.0.0.0";
    openFirewall = lib.mkDefault true;
    certificateNames = lib.mkDefault (
      lib.optional (
        cfg.cluster != null && cfg.cluster.nodes ? ${cfg.nodeName}
      ) cfg.cluster.nodes.${cfg.nodeName}.address
    );
    join.server = lib.mkIf (cfg.nodeName != first) (
      lib.mkDefault "https://${first}:${toString cfg.port}"
    );
  };
  # Members agree on leases and certificates by their clocks.
  services.timesyncd.enable = lib.mkDefault true;
}

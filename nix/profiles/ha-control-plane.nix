# One of three servers, node01 to node03. node01 makes the cluster, the others join it by the word in
# services.nanocloud.join.file, which `nanocloud member add` on node01 prints.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
  known = cfg.cluster != null && cfg.cluster.nodes ? ${cfg.nodeName};
in
{
  services.nanocloud = {
    enable = true;
    role = lib.mkDefault "server";
    listenAddress = lib.mkDefault "0.0.0.0";
    openFirewall = lib.mkDefault true;
    peer = {
      port = lib.mkDefault 6444;
      address = lib.mkIf known (lib.mkDefault cfg.cluster.nodes.${cfg.nodeName}.address);
    };
    certificateNames = [ cfg.nodeName ];
  };
  # Members agree on leases and certificates by their clocks.
  services.timesyncd.enable = lib.mkDefault true;
}

# The profiles keep what they promise: nobody changes a role, a port or a member unnoticed.
{
  self,
  lib,
  pkgs,
  ...
}:
let
  of = name: self.nixosConfigurations.${name}.config.services.nanocloud;
  servers = [
    "node01"
    "node02"
    "node03"
  ];
  promises = {
    "single-node is a server of its own" =
      (of "single-node").role == "server" && (of "single-node").join.file == null;
    "the control plane has three servers of one cluster" =
      lib.all (name: (of name).role == "server") servers
      && lib.allUnique (map (name: (of name).nodeName) servers);
    "only node01 makes the cluster" =
      map (name: (of name).join.file != null) servers == [
        false
        true
        true
      ];
    "members reach each other where the cluster says" = lib.all (
      name: lib.hasPrefix (of name).cluster.nodes.${name}.address (of name).settings.peer_address
    ) servers;
    "every configuration that the cluster names is there" = lib.all (
      class: self.nixosConfigurations ? ${class.configuration}
    ) (lib.attrValues (of "node01").cluster.classes);
    "only node01 applies what is declared" =
      map (name: (of name).apply.enable) servers == [
        true
        false
        false
      ];
    "the worker is an agent" = (of "worker01").role == "agent";
    "all machines hold the same cluster" = lib.all (
      name:
      self.nixosConfigurations.${name}.config.environment.etc."nanocloud/cluster.json".text
      == self.nixosConfigurations.node01.config.environment.etc."nanocloud/cluster.json".text
    ) (servers ++ [ "worker01" ]);
    "installed machines name their disk by id" = lib.all (
      name: lib.hasPrefix "/dev/disk/by-id/" (of name).installDisk
    ) (servers ++ [ "worker01" ]);
  };
  broken = lib.attrNames (lib.filterAttrs (_: kept: !kept) promises);
in
pkgs.runCommand "nanocloud-profile-guards" { } (
  if broken == [ ] then
    "echo ${toString (lib.length (lib.attrNames promises))} promises kept >$out"
  else
    throw "profiles break: ${lib.concatStringsSep "; " broken}"
)

# nixosConfigurations: the profiles as whole systems, to try, to test and to install.
{
  self,
  lib,
  machine,
  ...
}:
let
  cluster = import ../templates/ha/cluster.nix;
  # Of machines that keep state; the installation medium has NixOS' own.
  stateful.system.stateVersion = "26.05";
  # Examples, with nobody's key: lib.installer is for machines of one's own.
  installed = {
    imports = [ stateful ];
    users.allowNoPasswordLogin = true;
  };
  disk = {
    services.nanocloud.installDisk = lib.mkDefault "/dev/disk/by-id/virtio-nanocloud-root";
  };
  member = name: {
    networking.hostName = name;
    services.nanocloud = {
      inherit cluster;
      join.file = lib.mkIf (name != "node01") "/var/lib/nanocloud-join";
    };
  };
  controlPlane =
    name:
    machine [
      self.nixosModules.bare-metal-control-plane
      installed
      disk
      (member name)
    ] { };
in
{
  single-node = machine [
    self.nixosModules.single-node
    ./qemu-vm.nix
    stateful
    { networking.hostName = "nanocloud"; }
  ] { };

  node01 = controlPlane "node01";
  node02 = controlPlane "node02";
  node03 = controlPlane "node03";

  worker01 = machine [
    self.nixosModules.bare-metal-worker
    installed
    disk
    (member "worker01")
  ] { };

  # An installed single machine; the installer below carries it.
  bare-metal = machine [
    self.nixosModules.bare-metal-control-plane
    installed
    disk
    { networking.hostName = "node01"; }
  ] { };

  installer = self.lib.installer self.nixosConfigurations.bare-metal;
}

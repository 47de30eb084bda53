# The machine as a QEMU guest of the host that builds it (`config.system.build.vm`).
{ modulesPath, ... }:
{
  imports = [ (modulesPath + "/virtualisation/qemu-vm.nix") ];
  services.nanocloud = {
    listenAddress = "0.0.0.0";
    openFirewall = true;
    certificateNames = [ "10.0.2.15" ];
  };
  # A trial machine on its owner's console: nothing to log in to from elsewhere.
  services.getty.autologinUser = "root";
  virtualisation = {
    memorySize = 3072;
    cores = 2;
    diskSize = 16384;
    graphics = false;
    forwardPorts = [
      {
        from = "host";
        host.address = "127.0.0.1";
        host.port = 6443;
        guest.port = 6443;
      }
      {
        from = "host";
        host.address = "127.0.0.1";
        host.port = 8080;
        guest.port = 8080;
      }
    ];
  };
}

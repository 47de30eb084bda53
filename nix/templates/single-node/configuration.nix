# Add the hardware of the machine: `nixos-generate-config --show-hardware-config > hardware.nix`.
{
  imports = [ ./hardware.nix ];
  networking.hostName = "cloud";
  system.stateVersion = "26.05";

  services.nanocloud = {
    listenAddress = "0.0.0.0";
    openFirewall = true;
    bundles = {
      mariadb = { };
      wordpress.options = {
        database = "mariadb";
        publish = 80;
      };
    };
  };
  networking.firewall.allowedTCPPorts = [ 80 ];
}

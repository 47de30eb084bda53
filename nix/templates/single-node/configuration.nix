# Add the hardware of the machine: `nixos-generate-config --show-hardware-config > hardware.nix`.
{
  imports = [ ./hardware.nix ];
  networking.hostName = "cloud";
  system.stateVersion = "26.05";
  # The boot loader, which hardware.nix does not say; a BIOS needs boot.loader.grub.device instead.
  boot.loader.systemd-boot.enable = true;
  boot.loader.efi.canTouchEfiVariables = true;

  services.nanocloud = {
    listenAddress = "0.0.0.0";
    openFirewall = true;
    # Images of these come with the flake. A published port is open to everybody who reaches the machine,
    # whatever networking.firewall says.
    bundles = {
      redis = { };
      web = {
        service = "nginx";
        options.port = 80;
      };
    };
  };
}

# What every installed machine has: a boot loader, its disk, a way in, time.
{ lib, ... }:
{
  imports = [
    ./disk.nix
    ./login.nix
  ];
  boot.loader.systemd-boot.enable = true;
  boot.loader.efi.canTouchEfiVariables = true;
  boot.initrd.availableKernelModules = [
    "ahci"
    "nvme"
    "sd_mod"
    "usb_storage"
    "virtio_pci"
    "virtio_blk"
    "virtio_scsi"
    "xhci_pci"
  ];
  services.openssh = {
    enable = lib.mkDefault true;
    settings.PasswordAuthentication = lib.mkDefault false;
  };
  services.timesyncd.enable = lib.mkDefault true;
  hardware.enableRedistributableFirmware = lib.mkDefault true;
}

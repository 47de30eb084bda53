# The installation medium: an ISO image for USB sticks, BMC virtual media and QEMU. `lib.installer` of the
# flake makes one for any machine that is installed on a disk (nix/profiles/bare-metal).
#
# It holds the finished system of one node, so that nothing has to be fetched, and installs it on the
# disk which that system names. `nanocloud.install=yes` on the kernel's command line makes it do so
# at once; without it somebody has to call `nanocloud-install`.
{
  lib,
  pkgs,
  modulesPath,
  target,
  ...
}:
let
  inherit (target.config.system.build) toplevel destroyFormatMount;
  disk = target.config.services.nanocloud.installDisk;
  install = pkgs.writeShellApplication {
    name = "nanocloud-install";
    runtimeInputs = [
      pkgs.coreutils
      pkgs.systemd
      pkgs.util-linux
    ];
    text = ''
      marker() { echo "NANOCLOUD_MARKER $1"; }
      if [ "$(id -u)" -ne 0 ]; then
        echo "only root can install: sudo nanocloud-install" >&2
        exit 1
      fi
      # Before the disk is touched: the installed system's boot loader is started by UEFI alone.
      if [ ! -d /sys/firmware/efi ]; then
        echo "this machine was started by a BIOS; start the medium by UEFI (firmware settings, or QEMU with OVMF)" >&2
        exit 1
      fi
      # Disks are found after the medium has booted.
      for _ in $(seq 30); do
        if [ -b ${lib.escapeShellArg disk} ]; then
          break
        fi
        udevadm settle --timeout=5
        sleep 1
      done
      if [ ! -b ${lib.escapeShellArg disk} ]; then
        echo "there is no disk ${disk}; the disks of this machine are:" >&2
        lsblk --nodeps --output NAME,SIZE,MODEL,SERIAL >&2
        ls /dev/disk/by-id >&2
        exit 1
      fi
      marker install.begin
      ${lib.getExe destroyFormatMount} --yes-wipe-all-disks
      marker install.disko.complete
      nixos-install --no-root-passwd --no-channel-copy --system ${toplevel}
      marker install.nixos-install.complete
    '';
  };
in
{
  imports = [ (modulesPath + "/installer/cd-dvd/installation-cd-minimal.nix") ];
  image.baseName = lib.mkForce "nanocloud-installer";
  isoImage.storeContents = [ toplevel ];
  environment.systemPackages = [ install ];
  # What the last one names is /dev/console: the serial line, which management controllers show.
  boot.kernelParams = [
    "console=tty0"
    "console=ttyS0,115200"
  ];
  # Not used, and large.
  boot.supportedFilesystems.zfs = lib.mkForce false;
  nixpkgs.hostPlatform = lib.mkOverride 900 target.config.nixpkgs.hostPlatform;

  systemd.services.nanocloud-install = {
    description = "install ${target.config.networking.hostName} on ${disk}";
    wantedBy = [ "multi-user.target" ];
    unitConfig.ConditionKernelCommandLine = "nanocloud.install=yes";
    path = [
      pkgs.nixos-install-tools
      pkgs.nix
    ];
    serviceConfig = {
      Type = "oneshot";
      ExecStart = lib.getExe install;
      ExecStartPost = "/run/current-system/sw/bin/systemctl --no-block reboot";
      StandardOutput = "journal+console";
      StandardError = "journal+console";
    };
  };
}

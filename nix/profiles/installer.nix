# The installation medium: an ISO image for USB sticks, BMC virtual media and QEMU.
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
  inherit (target.config.system.build) toplevel diskoScript;
  disk = target.config.services.nanocloud.installDisk;
  install = pkgs.writeShellApplication {
    name = "nanocloud-install";
    runtimeInputs = [ pkgs.util-linux ];
    text = ''
      marker() { echo "NANOCLOUD_MARKER $1"; }
      if [ ! -b ${lib.escapeShellArg disk} ]; then
        echo "there is no disk ${disk}; the disks of this machine are:" >&2
        lsblk --nodeps --output NAME,SIZE,MODEL,SERIAL >&2
        ls /dev/disk/by-id >&2
        exit 1
      fi
      marker install.begin
      ${diskoScript}
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
  boot.kernelParams = [ "console=ttyS0,115200" ];

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

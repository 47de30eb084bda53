# One disk, found by its name and never by the order of detection: boot, root, state.
#
# The state has a file system of its own, so that a full one stops neither logs nor logins.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
in
{
  options.services.nanocloud.installDisk = lib.mkOption {
    type = lib.types.strMatching "/dev/disk/by-(id|path)/[^ /]+";
    example = "/dev/disk/by-id/nvme-eui.0025388b910d3a2f";
    description = "Disk the machine is installed on; everything on it is lost by an installation.";
  };

  config.disko.devices.disk.main = {
    type = "disk";
    device = cfg.installDisk;
    content = {
      type = "gpt";
      partitions = {
        boot = {
          size = "1G";
          type = "EF00";
          content = {
            type = "filesystem";
            format = "vfat";
            mountpoint = "/boot";
            mountOptions = [ "umask=0077" ];
          };
        };
        root = {
          size = "32G";
          content = {
            type = "filesystem";
            format = "ext4";
            mountpoint = "/";
          };
        };
        state = {
          size = "100%";
          content = {
            type = "filesystem";
            format = "ext4";
            mountpoint = cfg.stateRoot;
            mountOptions = [ "noatime" ];
          };
        };
      };
    };
  };
}

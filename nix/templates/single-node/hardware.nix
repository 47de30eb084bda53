# Replace this file by what `nixos-generate-config --show-hardware-config` prints.
{
  nixpkgs.hostPlatform = "x86_64-linux";
  fileSystems."/" = {
    device = "/dev/disk/by-label/nixos";
    fsType = "ext4";
  };
}

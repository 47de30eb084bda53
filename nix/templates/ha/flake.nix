{
  description = "Three nanocloud servers and their workers";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    # Edit this line: where this template came from (`nix flake init --template <flake>#ha`).
    nanocloud.url = "git+file:///etc/nanocloud/flake";
    nanocloud.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    {
      self,
      nixpkgs,
      nanocloud,
    }:
    let
      inherit (nixpkgs) lib;
      cluster = import ./cluster.nix;
      # Who may log in as root: without a key the machines are not built.
      adminKeys = [ ];
      # The disk of each machine (`ls /dev/disk/by-id` on it). Everything on it is lost.
      disks = {
        node01 = "/dev/disk/by-id/nvme-disk-of-node01";
        node02 = "/dev/disk/by-id/nvme-disk-of-node02";
        node03 = "/dev/disk/by-id/nvme-disk-of-node03";
        worker01 = "/dev/disk/by-id/nvme-disk-of-worker01";
      };
      # Machines have the addresses of cluster.nix, on whichever network card they have.
      network = declared: {
        networking.useDHCP = false;
        networking.useNetworkd = true;
        systemd.network.networks."10-lan" = {
          matchConfig = {
            Type = "ether";
            Kind = "!*";
          };
          address = [ "${declared.address}/24" ];
          gateway = [ "192.0.2.1" ];
          dns = [ "192.0.2.1" ];
        };
      };
      node =
        name: declared:
        lib.nixosSystem {
          modules = [
            (
              if declared.role or "agent" == "server" then
                nanocloud.nixosModules.bare-metal-control-plane
              else
                nanocloud.nixosModules.bare-metal-worker
            )
            (network declared)
            {
              nixpkgs.hostPlatform = "x86_64-linux";
              system.stateVersion = "26.05";
              networking.hostName = name;
              services.nanocloud = {
                inherit cluster adminKeys;
                installDisk = disks.${name};
                # What `nanocloud member add` prints on node01, good for 15 minutes. Written on the installed
                # machine: its unit waits for the file, and starts when it is there.
                join.file = lib.mkIf (name != "node01") "/var/lib/nanocloud-join";
              };
            }
          ];
        };
    in
    {
      nixosConfigurations = builtins.mapAttrs node cluster.nodes;

      # A medium that installs node01, with keys and disk of this file: `nix build .#node01-iso`.
      packages.x86_64-linux = lib.mapAttrs' (name: machine: {
        name = "${name}-iso";
        value = (nanocloud.lib.installer machine).config.system.build.isoImage;
      }) self.nixosConfigurations;
    };
}

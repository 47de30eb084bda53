{
  description = "Three nanocloud servers and their workers";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    # Where this template came from: `nix flake init --template <flake>#ha`.
    nanocloud.url = "git+file:///etc/nanocloud/flake";
    nanocloud.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    { nixpkgs, nanocloud, ... }:
    let
      inherit (nixpkgs) lib;
      cluster = import ./cluster.nix;
      node =
        name: declared:
        lib.nixosSystem {
          modules = [
            nanocloud.nixosModules.default
            (
              if declared.role or "agent" == "server" then
                nanocloud.nixosModules.bare-metal-control-plane
              else
                nanocloud.nixosModules.bare-metal-worker
            )
            {
              nixpkgs.hostPlatform = "x86_64-linux";
              system.stateVersion = "26.05";
              networking.hostName = name;
              services.nanocloud = {
                inherit cluster;
                installDisk = "/dev/disk/by-id/virtio-nanocloud-root";
                # What `nanocloud member add` prints on node01, written on the machine before it
                # starts; never in the Nix store.
                join.file = lib.mkIf (name != "node01") "/etc/nanocloud/join";
              };
            }
          ];
        };
    in
    {
      nixosConfigurations = builtins.mapAttrs node cluster.nodes;
    };
}

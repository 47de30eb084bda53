{
  description = "One machine with nanocloud";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    # Edit this line: where this template came from (`nix flake init --template <flake>#single-node`).
    nanocloud.url = "git+file:///etc/nanocloud/flake";
    nanocloud.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    { nixpkgs, nanocloud, ... }:
    {
      nixosConfigurations.cloud = nixpkgs.lib.nixosSystem {
        modules = [
          nanocloud.nixosModules.single-node
          ./configuration.nix
        ];
      };
    };
}

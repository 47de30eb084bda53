# What flake.nix uses of nixpkgs' outputs. Derivations here build nothing; configurations are walked
# to the last value, so that laziness hides no mistake.
let
  base = import ./lib;
  lib = base // {
    nixosSystem =
      {
        modules,
        specialArgs ? { },
      }:
      base.evalModules {
        class = "nixos";
        specialArgs = {
          modulesPath = ./modules;
        }
        // specialArgs;
        modules = [
          { _module.args.pkgs = packages; }
          ./options.nix
          ./system.nix
        ]
        ++ modules;
      };
  };
  packagesOf = system: import ./packages.nix { inherit lib system; };
  packages = packagesOf "x86_64-linux";
in
{
  inherit lib;
  legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] packagesOf;
}

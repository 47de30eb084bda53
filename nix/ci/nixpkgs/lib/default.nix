# Stand-in for nixpkgs.lib, written for this repository with builtins only. It knows what flake.nix
# and nix/ use, and no more; where its behaviour could differ from nixpkgs', it is the stricter one.
let
  lib =
    import ./functions.nix
    // import ./modules.nix { inherit lib; }
    // {
      types = import ./types.nix { inherit lib; };
      licenses.asl20 = {
        spdxId = "Apache-2.0";
      };
      platforms.linux = [
        "x86_64-linux"
        "aarch64-linux"
      ];
    };
in
lib

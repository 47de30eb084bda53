# The flake's outputs with the stand-in inputs, without fetching or copying: for nix-check.
let
  nixpkgs = import ./nixpkgs;
  disko = (import ./disko/flake.nix).outputs { };
  outputs = (import ../../flake.nix).outputs {
    self = outputs;
    inherit nixpkgs disko;
  };
in
outputs

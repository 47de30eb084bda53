# What the flake offers to other flakes, beside modules: pure functions, no packages.
{ lib }:
{
  cluster = import ./cluster-schema.nix { inherit lib; };
  files = import ./files.nix { inherit lib; };
  toml = import ./toml.nix { inherit lib; };
  unit = import ./unit.nix { inherit lib; };
}

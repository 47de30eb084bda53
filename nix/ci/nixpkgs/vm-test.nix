# testers.runNixOSTest as far as evaluation goes: every node's system is walked; the test script is
# kept, so that nix-check can compile it.
{ lib, derive }:
test:
let
  nodes = builtins.mapAttrs (
    name: module:
    (lib.nixosSystem {
      modules = [
        module
        {
          networking.hostName = lib.mkDefault name;
          nixpkgs.hostPlatform = "x86_64-linux";
          system.stateVersion = "26.05";
        }
      ];
    }).config
  ) test.nodes;
  # As in the real framework: nodes share the test's packages.
  toplevel =
    name: config:
    if config.nixpkgs.overlays != [ ] then
      throw "node ${name}: nixpkgs.overlays is set to a read-only value"
    else
      config.system.build.toplevel.drvPath;
  testScript =
    if builtins.isFunction test.testScript then test.testScript { inherit nodes; } else test.testScript;
in
builtins.deepSeq (builtins.mapAttrs toplevel nodes) (
  derive "vm-test-run-${test.name}" {
    inherit testScript nodes;
  }
)

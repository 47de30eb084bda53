# Programs of `nix run`.
{
  self,
  lib,
  pkgs,
  ...
}:
let
  vm = self.nixosConfigurations.single-node.config.system.build.vm;
  quickstart = pkgs.writeShellApplication {
    name = "single-node-quickstart";
    runtimeInputs = [
      pkgs.curl
      pkgs.coreutils
    ];
    runtimeEnv.NANOCLOUD_QUICKSTART_MACHINE = lib.getExe vm;
    text = builtins.readFile ./single-node-quickstart.sh;
  };
  app = {
    type = "app";
    program = "${quickstart}/bin/single-node-quickstart";
    meta.description = "Boot one nanocloud node in QEMU, wait until it is ready, and end it";
  };
in
{
  default = app;
  single-node-quickstart = app;
  # The names it had and the friendlier one.
  all-in-one-quickstart = app;
  single-node-trial = app;
}

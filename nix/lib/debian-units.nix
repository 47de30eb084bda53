# The module's units as files for machines that are not NixOS, where the program is in /usr/bin.
#
# { "<name>.service" = text; ... }; the same definition as on NixOS, rendered by ./unit.nix.
{ lib }:
let
  unit = import ./unit.nix { inherit lib; };
  installed = name: {
    type = "derivation";
    inherit name;
    outPath = "/usr";
    meta.mainProgram = name;
  };
  evaluate =
    settings:
    (lib.evalModules {
      modules = [
        ../ci/nixpkgs/options.nix
        ../modules
        {
          # Programs of other packages are in the unit's PATH already.
          _module.args.pkgs = lib.genAttrs [
            "nanocloud"
            "nftables"
            "iproute2"
            "util-linux"
            "cryptsetup"
            "e2fsprogs"
            "findutils"
          ] installed;
          services.nanocloud = settings // {
            enable = true;
          };
        }
      ];
    }).config;
  file =
    config: name:
    unit.render {
      header = [
        "Rendered from nix/modules by `make nix-units`; settings are in /etc/nanocloud/config.toml."
      ];
    } config.systemd.services.${name};

  # A unit that starts another when a file is written.
  watch =
    path: starts:
    unit.renderPath (
      path
      // {
        pathConfig = path.pathConfig // {
          Unit = starts;
        };
      }
    );

  server = evaluate { };
  agent = evaluate {
    role = "agent";
    listenAddress = "0.0.0.0";
    peer.port = 6444;
    join.file = "/etc/nanocloud/join";
  };
  controlPlane = evaluate { runPods = false; };
in
{
  # modules-load.d(5)
  "modules-load.conf" = lib.concatMapStrings (name: "${name}\n") server.boot.kernelModules;
  "nanocloud-control-plane.service" = file controlPlane "nanocloud";
  "nanocloud.service" = file server "nanocloud";
  "nanocloud-apply.service" = file server "nanocloud-apply";
  "nanocloud-agent.service" = file agent "nanocloud";
  "nanocloud-agent.path" = watch agent.systemd.paths.nanocloud-join "nanocloud-agent.service";
}

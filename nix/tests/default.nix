# Unit tests of the modules and functions, by evaluation alone: one file for each subject.
#
# { count, failures }; a failure names test, expectation and result. Needs nixpkgs.lib only, real or not.
{ lib, ours, ... }:
let
  pkgs =
    lib.genAttrs
      [
        "nanocloud"
        "nftables"
        "iproute2"
        "util-linux"
        "cryptsetup"
        "e2fsprogs"
        "findutils"
        "skopeo"
      ]
      (name: {
        type = "derivation";
        inherit name;
        outPath = "/test/${name}";
        meta.mainProgram = name;
      })
    // {
      runCommand =
        name: _: script:
        builtins.seq script {
          type = "derivation";
          inherit name;
          outPath = "/test/${name}";
        };
    };

  # A machine with these settings of services.nanocloud, and what else is given.
  machineWith =
    extra: settings:
    (lib.evalModules {
      modules = [
        ../ci/nixpkgs/options.nix
        ../modules
        extra
        {
          _module.args.pkgs = pkgs;
          networking.hostName = lib.mkDefault "node01";
          services.nanocloud = settings;
        }
      ];
    }).config;
  machine = machineWith { };
  enabled = settings: machine ({ enable = true; } // settings);

  tools = {
    inherit
      lib
      ours
      machine
      machineWith
      enabled
      ;
    # Messages of the assertions that do not hold.
    failed = config: map (a: a.message) (lib.filter (a: !a.assertion) config.assertions);
    # Whether a value cannot be evaluated to its end.
    throws = value: !(builtins.tryEval (builtins.deepSeq value value)).success;
    unit = config: config.systemd.services.nanocloud;
    golden = name: builtins.readFile (../ci/golden + "/${name}");
  };

  files = removeAttrs (ours.files.nixFilesIn ./.) [ "default" ];
  tests = lib.concatMapAttrs (
    file: path:
    lib.mapAttrs' (name: test: {
      name = "test ${file}: ${name}";
      value = test;
    }) (import path tools)
  ) files;
  result =
    name: test:
    lib.optional (test.expr != test.expected) {
      inherit name;
      inherit (test) expected;
      result = test.expr;
    };
in
{
  count = lib.length (lib.attrNames tests);
  failures = lib.concatLists (lib.mapAttrsToList result tests);
}

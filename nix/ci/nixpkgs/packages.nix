# Packages: names that evaluate. A name that is not here does not exist, as a typing error would not.
{
  lib,
  system ? "x86_64-linux",
}:
let
  derive =
    name: attributes:
    derivation {
      inherit name system;
      builder = "/bin/sh";
      args = [
        "-c"
        "echo this is a stand-in >$out"
      ];
    }
    // {
      meta.mainProgram = name;
    }
    // attributes;
  # What is derived from a text or a value: both are evaluated to the end.
  deriveFrom = name: value: builtins.deepSeq value (derive name { });

  plain = lib.genAttrs [
    "apparmor-parser"
    "apt"
    "busybox"
    "cargo-nextest"
    "clippy"
    "coreutils"
    "crun"
    "cryptsetup"
    "curl"
    "dpkg"
    "e2fsprogs"
    "findutils"
    "getent"
    "gnugrep"
    "gnused"
    "dash"
    "iproute2"
    "installShellFiles"
    "kubectl"
    "mariadb"
    "mariadb_1011"
    "nettools"
    "nftables"
    "nginx"
    "nix"
    "nixfmt"
    "nixfmt-tree"
    "nixos-install-tools"
    "postgresql_15"
    "python3"
    "qemu"
    "redis"
    "runc"
    "rustfmt"
    "shellcheck"
    "skopeo"
    "systemd"
    "umoci"
    "util-linux"
    "wireguard-tools"
  ] (name: derive name { version = "1"; });

  extended =
    overlays:
    let
      final = builtins.foldl' (packages: overlay: packages // overlay final packages) first overlays;
      first = plain // {
        inherit lib;
        pkgs = final;
        extend = overlay: extended (overlays ++ [ overlay ]);
        callPackage =
          file: arguments:
          let
            function = import file;
            called = function given;
            given = builtins.mapAttrs (
              name: _:
              arguments.${name} or final.${name}
                or (throw "callPackage ${toString file}: there is no package `${name}'")
            ) (builtins.functionArgs function);
          in
          # As makeOverridable of nixpkgs does it, which makes no difference between one package and a set.
          if builtins.isAttrs called then
            called
            // {
              override = _: called;
              overrideDerivation = _: called;
            }
          else
            called;
        stdenv = {
          hostPlatform = {
            inherit system;
          };
          buildPlatform.canExecute = _: true;
        };
        rustPlatform = {
          bindgenHook = derive "bindgen-hook" { };
          buildRustPackage =
            arguments:
            builtins.seq (builtins.readFile arguments.cargoLock.lockFile) (
              # Tests of a package are asked for by their own names.
              builtins.deepSeq (removeAttrs arguments [ "passthru" ]) (
                derive "${arguments.pname}-${arguments.version}" { inherit (arguments) meta; }
              )
            );
        };
        buildEnv = arguments: deriveFrom arguments.name arguments.paths;
        dockerTools = {
          binSh = derive "bin-sh" { };
          buildLayeredImage =
            arguments:
            deriveFrom (builtins.replaceStrings [ "/" ] [ "-" ] arguments.name) arguments
            // {
              imageTag = arguments.tag;
            };
        };
        writeShellScript = deriveFrom;
        writeText = deriveFrom;
        writeShellApplication =
          arguments: deriveFrom arguments.name arguments // { inherit (arguments) text; };
        runCommand =
          name: environment: script:
          deriveFrom name { inherit environment script; };
        mkShell = arguments: deriveFrom "shell" (arguments.packages ++ arguments.inputsFrom);
        nixosOptionsDoc =
          {
            options,
            transformOptions ? lib.id,
          }:
          let
            described = import ./options-doc.nix { inherit lib; } (transformOptions) options;
          in
          {
            optionsCommonMark = deriveFrom "options.md" described;
          };
        testers.runNixOSTest = import ./vm-test.nix { inherit lib derive; };
      };
    in
    final;
in
extended [ ]

# The binary with completions and manual pages. RocksDB is compiled from the vendored source, as
# everywhere: the version in nixpkgs need not be the one that the crate was generated for.
{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
  machineTests ? { },
}:
let
  workspace = lib.importTOML ../../Cargo.toml;
in
rustPlatform.buildRustPackage {
  pname = "nanocloud";
  inherit (workspace.workspace.package) version;

  src = lib.fileset.toSource {
    root = ../..;
    fileset = lib.fileset.unions [
      ../../Cargo.toml
      ../../Cargo.lock
      ../../LICENSE
      ../../crates
      ../../dockyard
      ../ci/golden
    ];
  };
  cargoLock.lockFile = ../../Cargo.lock;
  # The profile for distributions: `dist` of Cargo.toml.
  buildType = "dist";
  cargoBuildFlags = [
    "--package"
    "nanocloud"
  ];

  # bindgen reads RocksDB's header by libclang.
  nativeBuildInputs = [
    rustPlatform.bindgenHook
    installShellFiles
  ];

  # Tests make namespaces, mounts and firewall rules, which the build sandbox does not give; they
  # run as root in `make test`. The checks of the flake run the binary in virtual machines.
  doCheck = false;

  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    installShellCompletion --cmd nanocloud \
      --bash <($out/bin/nanocloud completion bash) \
      --zsh <($out/bin/nanocloud completion zsh) \
      --fish <($out/bin/nanocloud completion fish)
    $out/bin/nanocloud manual manual
    installManPage manual/*
  '';

  # Machines that run it; `nix flake check` builds them, too.
  passthru.tests = machineTests;

  meta = {
    description = "Small-server platform with a Kubernetes-style API in one binary";
    license = lib.licenses.asl20;
    mainProgram = "nanocloud";
    longDescription = ''
      API server, keyspace, controllers, kubelet, container runtime, network and storage of a small
      cluster, or of one machine.
    '';
    platforms = [
      "x86_64-linux"
      "aarch64-linux"
    ];
  };
}

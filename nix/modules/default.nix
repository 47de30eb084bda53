# services.nanocloud: one file for each concern. The flake adds the package; nothing here needs it.
{
  imports = [
    ./service.nix
    ./hardening.nix
    ./settings.nix
    ./network.nix
    ./state.nix
    ./join.nix
    ./apply.nix
    ./bundles.nix
    ./catalog.nix
    ./manifests.nix
    ./cluster.nix
  ];
}

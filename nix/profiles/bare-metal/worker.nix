# An installed machine that joins a cluster to run pods.
{
  imports = [
    ./common.nix
    ../ha-control-plane.nix
  ];
  services.nanocloud.role = "agent";
}

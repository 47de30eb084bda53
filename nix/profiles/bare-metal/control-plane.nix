# An installed machine that is a server of the cluster.
{
  imports = [
    ./common.nix
    ../ha-control-plane.nix
  ];
}

# An installed machine that runs pods for servers elsewhere.
{ lib, ... }:
{
  imports = [ ./common.nix ];
  services.nanocloud = {
    enable = true;
    role = "agent";
    join.server = lib.mkDefault "https://node01:6443";
  };
}

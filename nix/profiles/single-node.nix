# One machine that is everything: API, keyspace, controllers and pods.
{ lib, ... }:
{
  networking.hostName = lib.mkDefault "nanocloud";
  services.nanocloud.enable = true;
}

# A machine whose catalog holds these Dockyard images: machines of tests reach no registry.
images:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.nanocloud;
  copy = name: archive: ''
    mkdir -p ${cfg.stateRoot}/catalog
    skopeo --insecure-policy copy docker-archive:${archive} oci:${cfg.stateRoot}/catalog/${name}:latest
  '';
in
{
  systemd.services.nanocloud-catalog = {
    description = "images for the test";
    wantedBy = [ "multi-user.target" ];
    before = [ "nanocloud.service" ];
    requiredBy = [ "nanocloud.service" ];
    path = [ pkgs.skopeo ];
    script = lib.concatStrings (lib.mapAttrsToList copy images);
    serviceConfig = {
      Type = "oneshot";
      RemainAfterExit = true;
    };
  };
}

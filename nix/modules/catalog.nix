# Images that the machine's configuration puts into the node's catalog, where services find them before a
# registry is asked.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.nanocloud;
  catalog = "${cfg.stateRoot}/catalog";
  name = "[a-z0-9]([-a-z0-9._]*[a-z0-9])?";

  # An OCI image layout with the tag `latest`, as the catalog is made of.
  layout =
    service: archive:
    pkgs.runCommand "nanocloud-catalog-${lib.replaceStrings [ "/" ] [ "-" ] service}"
      { nativeBuildInputs = [ pkgs.skopeo ]; }
      ''
        export HOME=$TMPDIR
        skopeo --insecure-policy --tmpdir "$TMPDIR" copy docker-archive:${archive} oci:$out:latest
      '';
  place = service: archive: ''
    place ${lib.escapeShellArg service} ${layout service archive}
  '';
in
{
  options.services.nanocloud.catalog = lib.mkOption {
    type = lib.types.attrsOf lib.types.package;
    default = { };
    example = lib.literalExpression "{ redis = nanocloud.packages.x86_64-linux.image-redis; }";
    description = ''
      Images of the node's catalog by name of the service: archives as `pkgs.dockerTools` makes them.
      The flake's own module names its images of the services in {option}`services.nanocloud.bundles`.
      A service whose image is neither here nor made on the machine comes from the setting `registry`.
    '';
  };

  config = lib.mkIf cfg.enable {
    assertions = lib.mapAttrsToList (service: _: {
      assertion = builtins.match "${name}(/${name})*" service != null;
      message = "services.nanocloud.catalog.${service}: a name has lower-case letters, digits, '-', '.' and '_', in parts between '/'.";
    }) cfg.catalog;

    # It runs with nothing named, too: what was there before has to go.
    systemd.services.nanocloud-catalog = lib.mkIf cfg.runPods {
      description = "images of nanocloud's catalog";
      wantedBy = [ "nanocloud.service" ];
      before = [ "nanocloud.service" ];
      unitConfig.RequiresMountsFor = [ cfg.stateRoot ];
      path = [ pkgs.findutils ];
      # Links into the store, which the unit keeps alive; nothing is copied.
      script = ''
        install -d -m 0711 ${cfg.stateRoot}
        install -d -m 0755 ${catalog}
        find ${catalog} -mindepth 1 -type l -lname '/nix/store/*' -delete
        find ${catalog} -mindepth 1 -type d -empty -delete
        place() {
          if [ -e "${catalog}/$1" ]; then
            echo "${catalog}/$1 was not made by the configuration and stays: remove it, or take services.nanocloud.catalog.$1 out" >&2
            return
          fi
          install -d -m 0755 "$(dirname "${catalog}/$1")"
          ln -s "$2" "${catalog}/$1"
        }
        ${lib.concatStrings (lib.mapAttrsToList place cfg.catalog)}
      '';
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
    };
  };
}

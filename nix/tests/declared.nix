{
  lib,
  enabled,
  failed,
  throws,
  ...
}:
let
  declared =
    settings: builtins.fromJSON (enabled settings).environment.etc."nanocloud/declared.json".text;
in
{
  "a bundle becomes an object" = {
    expr =
      (declared {
        bundles.blog = {
          service = "wordpress";
          options = {
            database = "mariadb";
            publish = 8080;
            debug = false;
          };
        };
      }).items;
    expected = [
      {
        apiVersion = "nanocloud.io/v1";
        kind = "Bundle";
        metadata = {
          name = "blog";
          namespace = "default";
        };
        spec = {
          service = "wordpress";
          start = true;
          options = {
            database = "mariadb";
            publish = "8080";
            debug = "false";
          };
        };
      }
    ];
  };
  "nothing declared is applied too, so that what was declared goes" = {
    expr = (declared { }).items;
    expected = [ ];
  };
  "manifests are applied as they are, before bundles" = {
    expr =
      map (o: o.kind)
        (declared {
          manifests.a = [
            {
              apiVersion = "v1";
              kind = "ConfigMap";
              metadata.name = "a";
            }
          ];
          bundles.redis = { };
        }).items;
    expected = [
      "ConfigMap"
      "Bundle"
    ];
  };
  "a Secret or half an object is refused" = {
    expr = builtins.length (
      failed (enabled {
        manifests.bad = [
          {
            apiVersion = "v1";
            kind = "Secret";
            metadata.name = "s";
          }
          { kind = "ConfigMap"; }
        ];
      })
    );
    expected = 2;
  };
  "the server merges unless it is told otherwise" = {
    expr =
      map (apply: (enabled { inherit apply; }).systemd.services.nanocloud-apply.serviceConfig.ExecStart)
        [
          { }
          { serverSide = false; }
        ];
    expected = [
      "/test/nanocloud/bin/nanocloud --state-root /var/lib/nanocloud.io apply --server-side --field-manager nix --force-conflicts --apply-set nix --filename /etc/nanocloud/declared.json"
      "/test/nanocloud/bin/nanocloud --state-root /var/lib/nanocloud.io apply --apply-set nix --filename /etc/nanocloud/declared.json"
    ];
  };
  "images of the catalog are links, placed before the server starts" = {
    expr =
      let
        config = enabled {
          catalog."diagnostics/visits" = {
            type = "derivation";
            outPath = "/test/archive";
          };
        };
        service = config.systemd.services.nanocloud-catalog;
      in
      [
        (lib.hasInfix "place diagnostics/visits /test/nanocloud-catalog-diagnostics-visits\n" service.script)
        service.before
        service.wantedBy
        (failed config)
      ];
    expected = [
      true
      [ "nanocloud.service" ]
      [ "nanocloud.service" ]
      [ ]
    ];
  };
  "a name of the catalog is no path" = {
    expr = failed (enabled {
      catalog."../etc" = {
        type = "derivation";
        outPath = "/test/archive";
      };
    });
    expected = [
      "services.nanocloud.catalog.../etc: a name has lower-case letters, digits, '-', '.' and '_', in parts between '/'."
    ];
  };
  "a bundle's name is checked" = {
    expr = failed (enabled {
      bundles."Not_a_name".service = "redis";
    });
    expected = [
      "services.nanocloud.bundles.Not_a_name: a name has 1 to 63 lower-case letters, digits and '-' (RFC 1123)."
    ];
  };
  "an option that is a list is refused" = {
    expr = throws (declared {
      bundles.redis.options.x = [ 1 ];
    });
    expected = true;
  };
}

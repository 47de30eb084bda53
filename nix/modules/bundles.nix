# Services declared by the machine's configuration: each becomes a Bundle.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
  inherit (lib) mkOption types;
  label = types.strMatching "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";
  scalar = types.oneOf [
    types.str
    types.int
    types.bool
  ];
  text = v: if builtins.isBool v then lib.boolToString v else toString v;
  bundle =
    { name, ... }:
    {
      options = {
        service = mkOption {
          type = types.strMatching "[a-z0-9]([-a-z0-9/]*[a-z0-9])?";
          default = name;
          defaultText = lib.literalExpression "<name>";
          description = "Service of the catalog.";
        };
        namespace = mkOption {
          type = label;
          default = "default";
          description = "Namespace of the Bundle.";
        };
        image = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "Image to run instead of the catalog's.";
        };
        options = mkOption {
          type = types.attrsOf scalar;
          default = { };
          example = {
            database = "mariadb";
            publish = 8080;
          };
          description = ''
            Options of the service. A secret must not be given here: the Nix store is readable by
            everybody. Options of that kind draw a value by themselves.
          '';
        };
        start = mkOption {
          type = types.bool;
          default = true;
          description = "Whether it runs; `false` prepares everything and leaves it stopped.";
        };
        annotations = mkOption {
          type = types.attrsOf types.str;
          default = { };
          description = "Annotations of the Bundle.";
        };
      };
    };
  object = name: b: {
    apiVersion = "nanocloud.io/v1";
    kind = "Bundle";
    metadata = {
      inherit name;
      inherit (b) namespace;
    }
    // lib.optionalAttrs (b.annotations != { }) { inherit (b) annotations; };
    spec = {
      inherit (b) service start;
      options = lib.mapAttrs (_: text) b.options;
    }
    // lib.optionalAttrs (b.image != null) { inherit (b) image; };
  };
in
{
  options.services.nanocloud.bundles = mkOption {
    type = types.attrsOf (types.submodule bundle);
    default = { };
    example = lib.literalExpression ''
      {
        mariadb = { };
        wordpress.options = { database = "mariadb"; publish = 80; };
      }
    '';
    description = ''
      Services of this machine or cluster. What is taken out of the configuration is uninstalled; what
      others install by the API stays theirs.
    '';
  };

  config = lib.mkIf cfg.enable {
    assertions = lib.mapAttrsToList (name: _: {
      assertion = builtins.match "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?" name != null;
      message = "services.nanocloud.bundles.${name}: a name has 1 to 63 lower-case letters, digits and '-' (RFC 1123).";
    }) cfg.bundles;
    services.nanocloud.apply.objects = lib.mapAttrsToList object cfg.bundles;
  };
}

# Objects of any kind, declared as Nix values.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
  inherit (lib) mkOption types;
  isObject = o: o ? apiVersion && o ? kind && (o.metadata.name or "") != "";
in
{
  options.services.nanocloud.manifests = mkOption {
    type = types.attrsOf (types.listOf (types.attrsOf types.anything));
    default = { };
    example = {
      limits = [
        {
          apiVersion = "v1";
          kind = "ConfigMap";
          metadata = {
            name = "nanocloud.io";
            namespace = "kube-system";
          };
          data."backup.retentionCount" = "7";
        }
      ];
    };
    description = "Lists of objects, applied like bundles. No Secret belongs here: the Nix store is readable by everybody.";
  };

  config = lib.mkIf cfg.enable {
    assertions = lib.concatLists (
      lib.mapAttrsToList (
        name: objects:
        lib.imap0 (index: o: {
          assertion = isObject o && o.kind != "Secret";
          message = "services.nanocloud.manifests.${name}[${toString index}]: an object needs apiVersion, kind and metadata.name, and is no Secret (the Nix store is readable by everybody).";
        }) objects
      ) cfg.manifests
    );
    # Before bundles, which may lie in a namespace that is declared here.
    services.nanocloud.apply.objects = lib.mkBefore (lib.concatLists (lib.attrValues cfg.manifests));
  };
}

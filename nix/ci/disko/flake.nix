{
  description = "Stand-in for disko: declares the one option that the profiles set";
  outputs = _: {
    nixosModules.disko =
      { lib, ... }:
      {
        options.disko.devices = lib.mkOption {
          type = lib.types.attrsOf lib.types.anything;
          default = { };
        };
      };
  };
}

# What the module asks of the rest of the machine.
{
  lib,
  enabled,
  machineWith,
  ...
}:
let
  with' = extra: machineWith extra { enable = true; };
in
{
  "a DHCP client leaves the bridge and pods' links alone" = {
    expr = (enabled { bridge = "pods"; }).networking.dhcpcd.denyInterfaces;
    expected = [
      "pods"
      "nc[0-9a-f]*"
    ];
  };
  "NetworkManager leaves them alone where there is one" = {
    expr =
      map
        (
          enable:
          (with' { networking.networkmanager.enable = enable; }).environment.etc
            ? "NetworkManager/conf.d/50-nanocloud.conf"
        )
        [
          false
          true
        ];
    expected = [
      false
      true
    ];
  };
  "a firewall that removes foreign rules is warned of" = {
    expr =
      map
        (
          flushRuleset:
          lib.length
            (with' {
              networking.nftables.enable = true;
              networking.nftables.flushRuleset = flushRuleset;
            }).warnings
        )
        [
          false
          true
        ];
    expected = [
      0
      1
    ];
  };
  "a kernel that loads no modules later has them from the start" = {
    expr =
      map
        (locked: lib.elem "nft_masq" (with' { security.lockKernelModules = locked; }).boot.kernelModules)
        [
          false
          true
        ];
    expected = [
      false
      true
    ];
  };
  "nginx is named its configuration, which nixpkgs' build looks for elsewhere" = {
    expr = lib.hasInfix "\nexec nginx -c /etc/nginx/nginx.conf\n" (
      builtins.readFile ../../dockyard/nginx/entrypoint
    );
    expected = true;
  };
}

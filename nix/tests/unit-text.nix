{ lib, ours, ... }:
let
  inherit (ours) unit;
  service = {
    description = "a thing";
    documentation = [ "man:thing(1)" ];
    wants = [ ];
    requires = [ ];
    before = [ ];
    after = [
      "a.target"
      "b.target"
    ];
    wantedBy = [ "multi-user.target" ];
    environment.A = "b c";
    unitConfig.StartLimitIntervalSec = 0;
    serviceConfig = {
      Delegate = true;
      ExecStart = "/bin/true";
      SystemCallFilter = [
        "~@clock"
        "~@swap"
      ];
    };
  };
in
{
  "sections, lists, booleans and quotes" = {
    expr = unit.render { header = [ "made by a test" ]; } service;
    expected = ''
      # made by a test
      [Unit]
      Description=a thing
      Documentation=man:thing(1)
      After=a.target b.target
      StartLimitIntervalSec=0

      [Service]
      Environment="A=b c"
      Delegate=true
      ExecStart=/bin/true
      SystemCallFilter=~@clock
      SystemCallFilter=~@swap

      [Install]
      WantedBy=multi-user.target
    '';
  };
  "Debian's server is in /usr/bin" = {
    expr =
      lib.hasInfix "\nExecStart=/usr/bin/nanocloud server\n"
        (import ../lib/debian-units.nix { inherit lib; })."nanocloud.service";
    expected = true;
  };
}

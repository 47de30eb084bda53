# The unit that Debian gets says the same as the one that NixOS makes, up to paths.
{ self, pkgs, ... }:
let
  nixos = self.nixosConfigurations.single-node.config.systemd.units."nanocloud.service".unit;
in
pkgs.runCommand "nanocloud-unit-text"
  {
    nativeBuildInputs = [ pkgs.gnused ];
    debian = self.unitFiles."nanocloud.service";
    passAsFile = [ "debian" ];
  }
  ''
    # Sorted lines without comments, sections, environment and the paths of programs.
    plain() {
      sed -E -e '/^(#|\[|$|Environment=|X-|WantedBy=)/d' -e 's,/[^ ]*/bin/nanocloud,nanocloud,' "$1" | sort
    }
    plain $debianPath >debian
    plain ${nixos}/nanocloud.service >nixos
    diff debian nixos >$out || { cat $out; exit 1; }
  ''

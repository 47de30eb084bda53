# Every option of the module as a page (CommonMark), with the places where it is declared in this tree.
{
  self,
  lib,
  pkgs,
  ...
}:
let
  root = toString self;
  inTree = declaration: lib.removePrefix "${root}/" (toString declaration);
in
(pkgs.nixosOptionsDoc {
  # A machine with the profiles of installed machines, which have options of their own.
  options.services.nanocloud = self.nixosConfigurations.bare-metal.options.services.nanocloud;
  transformOptions = option: option // { declarations = map inTree option.declarations; };
}).optionsCommonMark

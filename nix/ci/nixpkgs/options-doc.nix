# What nixosOptionsDoc refuses: an option without a description. Gives the options that a page would list.
{ lib }:
transform:
let
  b = builtins;
  collect =
    path: options:
    b.concatMap (
      name:
      let
        here = path ++ [ name ];
        option = options.${name};
        shown = b.concatStringsSep "." here;
      in
      if !(b.isAttrs option) then
        [ ]
      else if (option._type or null) != "option" then
        collect here option
      else if option.internal or false then
        [ ]
      else if !(option ? description) then
        throw "option ${shown} has no description"
      else
        [
          (transform {
            name = shown;
            inherit (option) description;
            declarations = [ ];
          })
        ]
    ) (b.attrNames options);
in
collect [ ]

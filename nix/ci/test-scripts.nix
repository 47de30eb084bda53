# Test scripts of the checks that boot machines: { <check> = text; }.
{
  outputs ? import ./outputs.nix,
}:
let
  checks = outputs.checks.x86_64-linux;
  names = builtins.filter (name: checks.${name} ? testScript) (builtins.attrNames checks);
in
builtins.listToAttrs (
  map (name: {
    inherit name;
    value = checks.${name}.testScript;
  }) names
)

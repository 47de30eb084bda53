{
  description = "Stand-in for nixpkgs: shapes without packages, for machines that cannot fetch nixpkgs";
  outputs = _: import ./.;
}

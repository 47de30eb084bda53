# Addresses as text: where a port follows, and what only the machine itself reaches.
{ lib }:
{
  # An IPv6 address stands in brackets before a port (RFC 3986).
  withPort =
    address: port:
    if lib.hasInfix ":" address && !(lib.hasPrefix "[" address) then
      "[${address}]:${toString port}"
    else
      "${address}:${toString port}";

  isLoopback =
    address:
    lib.hasPrefix "127." address
    || lib.elem address [
      "::1"
      "[::1]"
      "localhost"
    ];
}

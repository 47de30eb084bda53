# A way in: an installed machine that nobody can log in to cannot be given its word, nor be mended.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
  isAdmin = name: user: name == "root" || user.group == "wheel" || lib.elem "wheel" user.extraGroups;
  canLogIn =
    user:
    user.openssh.authorizedKeys.keys != [ ]
    || user.openssh.authorizedKeys.keyFiles != [ ]
    || lib.any (password: password != null && !(lib.hasPrefix "!" password)) [
      user.hashedPassword
      user.hashedPasswordFile
      user.initialHashedPassword
      user.initialPassword
      user.password
    ];
in
{
  options.services.nanocloud.adminKeys = lib.mkOption {
    type = lib.types.listOf (lib.types.strMatching "(ssh|ecdsa|sk)-[^\n]+");
    default = [ ];
    example = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA... me@example.org" ];
    description = "SSH keys that may log in as root.";
  };

  config = {
    users.users.root.openssh.authorizedKeys.keys = cfg.adminKeys;
    assertions = [
      {
        assertion =
          config.users.allowNoPasswordLogin
          || lib.any lib.id (
            lib.mapAttrsToList (name: user: isAdmin name user && canLogIn user) config.users.users
          );
        message = "services.nanocloud.adminKeys: nobody could log in to this machine; give it your SSH key, or a user in the group wheel a key or a password.";
      }
    ];
  };
}

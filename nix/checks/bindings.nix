# A service bound to another: the binding makes a user, the app works with it and with nothing else.
{ self, pkgs, ... }:
pkgs.testers.runNixOSTest {
  name = "nanocloud-bindings";
  nodes.machine = {
    imports = [
      self.nixosModules.default
      self.nixosModules.single-node
    ];
    security.apparmor.enable = true;
    services.nanocloud.bundles = {
      redis = { };
      visits = {
        service = "diagnostics/visits";
        options.store = "redis";
      };
    };
    virtualisation = {
      memorySize = 2048;
      diskSize = 8192;
    };
  };
  testScript = ''
    start_all()
    machine.wait_for_unit("nanocloud.service")
    machine.wait_until_succeeds("nanocloud status visits | grep -q Ready", timeout=300)

    with subtest("the app counts in the store"):
        assert machine.succeed("nanocloud exec visits -- /usr/lib/nanocloud/count get").strip() == "1"
        assert machine.succeed("nanocloud exec visits -- /usr/lib/nanocloud/count add").strip() == "2"

    with subtest("the binding's user may read its own keys only"):
        refused = machine.fail("nanocloud exec visits -- /usr/lib/nanocloud/count other 2>&1")
        assert "NOPERM" in refused or "permissions" in refused, refused

    with subtest("the binding ran under AppArmor"):
        machine.succeed("nanocloud events -o json | grep -q '\"nanocloud.io/apparmor\": \"nanocloud-bindings\"'")

    with subtest("what is taken out of the configuration goes"):
        machine.succeed("""echo '{"apiVersion":"v1","kind":"List","items":[]}' >/tmp/none.json""")
        machine.succeed("nanocloud apply --apply-set nix --filename /tmp/none.json")
        machine.wait_until_fails("pgrep -x redis-server", timeout=120)
  '';
}

# One machine: the unit gets ready, a declared service runs, commands work, a restart keeps containers.
{ self, pkgs, ... }:
pkgs.testers.runNixOSTest {
  name = "nanocloud-single-node";
  nodes.machine = {
    imports = [
      self.nixosModules.default
      self.nixosModules.single-node
    ];
    # Their images come with the module: the machine reaches no registry.
    services.nanocloud.bundles = {
      redis = { };
      web = {
        service = "nginx";
        options.port = 8081;
      };
    };
    environment.systemPackages = [ pkgs.curl ];
    virtualisation = {
      memorySize = 2048;
      diskSize = 8192;
    };
  };
  testScript = ''
    start_all()
    machine.wait_for_unit("nanocloud.service")
    machine.wait_for_unit("nanocloud-apply.service")

    with subtest("the declared service runs"):
        machine.wait_until_succeeds("nanocloud status redis | grep -q Ready", timeout=300)
        machine.succeed("nanocloud exec redis -- redis-cli --version")
        machine.succeed("nanocloud logs redis | grep -q .")

    with subtest("a web server answers on its published port"):
        machine.wait_until_succeeds("nanocloud status web | grep -q Ready", timeout=300)
        machine.succeed("curl --silent --fail --max-time 5 http://127.0.0.1:8081/")

    with subtest("containers outlive a restart of the server"):
        shims = machine.succeed("pgrep -f '[n]anocloud shim' | sort").split()
        assert shims, "no shim runs"
        machine.succeed("systemctl restart nanocloud.service")
        assert machine.succeed("pgrep -f '[n]anocloud shim' | sort").split() == shims
        machine.wait_until_succeeds("nanocloud status redis | grep -q Ready", timeout=60)

    with subtest("a reboot brings everything back"):
        machine.shutdown()
        machine.start()
        machine.wait_for_unit("nanocloud.service")
        machine.wait_until_succeeds("nanocloud status redis | grep -q Ready", timeout=300)

    with subtest("what is uninstalled is gone"):
        machine.succeed("nanocloud uninstall redis")
        machine.succeed("nanocloud uninstall web")
        machine.fail("pgrep -f '[n]anocloud shim'")
  '';
}

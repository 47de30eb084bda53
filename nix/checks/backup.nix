# The state of a stopped node, copied and put back, is the node again.
{ self, pkgs, ... }:
pkgs.testers.runNixOSTest {
  name = "nanocloud-backup";
  nodes.machine = {
    imports = [
      self.nixosModules.default
      self.nixosModules.single-node
    ];
    virtualisation.memorySize = 1024;
  };
  testScript = ''
    def number():
        return machine.succeed("nanocloud get configmap kept -o json | grep -o '\"number\": *\"[0-9]*\"'").strip()

    start_all()
    machine.wait_for_unit("nanocloud.service")
    machine.succeed(
        """echo '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept"},"data":{"number":"1"}}' """
        "| nanocloud apply --filename -"
    )
    before = number()

    with subtest("copy"):
        machine.succeed("systemctl stop nanocloud.service")
        machine.succeed("tar --create --file /root/state.tar --directory /var/lib/nanocloud.io .")
        machine.succeed("systemctl start nanocloud.service")
        machine.succeed("nanocloud delete configmap kept")

    with subtest("put back"):
        machine.succeed("systemctl stop nanocloud.service")
        machine.succeed("nanocloud teardown --purge")
        machine.succeed("mkdir --mode 0711 /var/lib/nanocloud.io")
        machine.succeed("tar --extract --file /root/state.tar --directory /var/lib/nanocloud.io")
        machine.succeed("systemctl start nanocloud.service")
        assert number() == before
  '';
}

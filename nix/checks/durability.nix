# A power cut loses nothing that was acknowledged.
{ self, pkgs, ... }:
pkgs.testers.runNixOSTest {
  name = "nanocloud-durability";
  nodes.machine = {
    imports = [
      self.nixosModules.default
      self.nixosModules.single-node
    ];
    virtualisation.memorySize = 1024;
  };
  testScript = ''
    import json

    start_all()
    machine.wait_for_unit("nanocloud.service")
    for number in range(100):
        machine.succeed(
            f"""echo '{json.dumps({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"kept-{number}", "namespace": "default"},
                "data": {"number": str(number)},
            })}' | nanocloud apply -f -"""
        )
    machine.crash()
    machine.start()
    machine.wait_for_unit("nanocloud.service")
    items = json.loads(machine.succeed("nanocloud get configmaps -o json"))["items"]
    found = {item["metadata"]["name"]: item["data"]["number"] for item in items if "number" in item.get("data", {})}
    assert found == {f"kept-{number}": str(number) for number in range(100)}, found
  '';
}

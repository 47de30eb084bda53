# Three servers: one is lost, the API goes on; it comes back and knows what happened.
{
  self,
  lib,
  pkgs,
  ...
}:
let
  word = "/root/join";
  server = name: {
    imports = [
      self.nixosModules.default
      self.nixosModules.ha-control-plane
    ];
    services.nanocloud.join.file = lib.mkIf (name != "node01") word;
    # One of them makes no containers, and runs in the narrower unit.
    services.nanocloud.runPods = name != "node03";
    # The others are started when there is a word for them.
    systemd.services.nanocloud.wantedBy = lib.mkIf (name != "node01") (lib.mkForce [ ]);
    virtualisation.memorySize = 1536;
  };
in
pkgs.testers.runNixOSTest {
  name = "nanocloud-ha";
  nodes = lib.genAttrs [
    "node01"
    "node02"
    "node03"
  ] server;
  testScript = ''
    def write(machine, value):
        machine.wait_until_succeeds(
            f"""echo '{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"ha"}},"data":{{"value":"{value}"}}}}' """
            "| nanocloud apply --filename -",
            timeout=60,
        )

    def reads(machine, value):
        machine.wait_until_succeeds(f"nanocloud get configmap ha -o json | grep -q '\"value\": *\"{value}\"'", timeout=60)

    start_all()
    node01.wait_for_unit("nanocloud.service")
    for joining in (node02, node03):
        joining.wait_for_unit("multi-user.target")
        word = node01.succeed("nanocloud member add").strip()
        joining.succeed(f"umask 077; cat >${word} <<'END'\n{word}\nEND")
        joining.succeed("systemctl start nanocloud.service")

    write(node01, "three")
    reads(node03, "three")

    with subtest("one server is lost"):
        node01.crash()
        write(node02, "two")
        reads(node03, "two")

    with subtest("it comes back"):
        node01.start()
        node01.wait_for_unit("nanocloud.service")
        reads(node01, "two")
  '';
}

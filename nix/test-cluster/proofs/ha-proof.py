"""Three nodes: the leader dies, a minority is cut off, all lose power. No acknowledged write is lost."""

import json
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import nanocloud
from cluster import STATE, Failed, check

# Three guests are enough for a machine.
ALONE = True
NODES = ["node01", "node02", "node03"]
ADDRESS = {name: f"10.77.0.{11 + number}" for number, name in enumerate(NODES)}
# Longest a client waits for one answer before it asks another node.
PATIENCE_SECONDS = 10


class Writer:
    """A client outside of the cluster that writes ConfigMaps, one after the other, to whoever takes them."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder = cluster, folder
        self.acknowledged, self.gaps = [], []
        self.number, self.last = 0, time.monotonic()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def put(self, port):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"write-{self.number}"},
                "data": {"number": str(self.number)}}
        answer = subprocess.run(
            ["curl", "-s", "-m", str(PATIENCE_SECONDS), "-o", "/dev/null", "-w", "%{http_code}",
             "--cacert", self.folder / "ca.crt", "--cert", self.folder / "admin.crt", "--key", self.folder / "admin.key",
             "-H", "content-type: application/json", "--data", json.dumps(body),
             f"https://localhost:{port}/api/v1/namespaces/default/configmaps"],
            capture_output=True, text=True, check=False)
        # A write that was answered too late is there already.
        return answer.stdout in ("201", "409")

    def _work(self):
        turn = 0
        while not self.stopping.is_set():
            ports = [node.forwards["6443"] for node in self.cluster.nodes.values()]
            if self.put(ports[turn % len(ports)]):
                now = time.monotonic()
                self.gaps.append((now, now - self.last))
                self.last = now
                self.acknowledged.append(self.number)
                self.number += 1
            else:
                turn += 1
            self.stopping.wait(0.05)

    def longest_gap_since(self, moment):
        gaps = [gap for at, gap in self.gaps if at >= moment]
        return round(max([*gaps, time.monotonic() - self.last]), 1)

    def await_progress(self, count=5, seconds=60):
        """Waits for new acknowledged writes; gives the seconds until the first."""
        begin, had = time.monotonic(), len(self.acknowledged)
        first = None
        while len(self.acknowledged) < had + count:
            if first is None and len(self.acknowledged) > had:
                first = time.monotonic() - begin
            if time.monotonic() - begin > seconds * self.cluster.stretch:
                raise Failed(f"no {count} writes within {seconds * self.cluster.stretch} s")
            time.sleep(0.05)
        return round(first if first is not None else time.monotonic() - begin, 1)

    def stop(self):
        self.stopping.set()
        self.thread.join()


def members(node):
    """Lines of the list of members."""
    return node.sh("nanocloud member list", seconds=60).splitlines()


def leader(cluster, nodes):
    """The node that leads, by whoever answers."""
    for node in nodes:
        try:
            items = json.loads(node.sh("nanocloud member list -o json", seconds=60))["items"]
        except Failed:
            continue
        for name in (item["name"] for item in items if item["leads"]):
            return cluster.nodes[name]
    raise Failed("nobody knows a leader")


def election_ms(cluster):
    """The default, or what an emulated processor takes for as much."""
    return 1000 if cluster.stretch == 1 else 5000


def configure(node, *, joins):
    """What the NixOS module renders for a member, as a drop-in of the unit that it rendered for a single server."""
    address = ADDRESS[node.name]
    nanocloud.install(node, listen="0.0.0.0:6443", api_url=f"https://{address}:6443",
                      peer_listen="0.0.0.0:6444", peer_address=f"{address}:6444", election_ms=election_ms(node.cluster))
    lines = ["[Service]", "ExecStartPre="]
    if joins:
        lines += ["LoadCredential=join:/etc/nanocloud/join", "ExecStart=",
                  "ExecStart=/usr/bin/nanocloud server --join-file %d/join"]
    else:
        lines += [f"ExecStartPre=/usr/bin/nanocloud setup --no-token --name {address}"]
    node.sh("install -D -m 644 /dev/stdin /etc/systemd/system/nanocloud.service.d/member.conf <<'END'\n"
            + "\n".join(lines) + "\nEND\nsystemctl daemon-reload && systemctl enable nanocloud")


def form(cluster):
    """One node, then two more that join it by a word each."""
    nodes = [cluster.add(name, memory_mib=512, address=f"{ADDRESS[name]}/24", forwards=[6443]) for name in NODES]
    first, *others = nodes
    cluster.together(*(node.boot for node in nodes))
    cluster.together(*(lambda node=node: configure(node, joins=node is not first) for node in nodes))
    nanocloud.start(first)
    for node in others:
        word = first.sh("nanocloud member add", seconds=60)
        node.sh("install -m 600 /dev/stdin /etc/nanocloud/join <<'END'\n" + word + "\nEND")
        nanocloud.start(node)
    return nodes


def credentials(node, folder):
    """The administrator's certificate, for a client outside."""
    assets = f"{STATE}/secure_assets"
    (folder / "ca.crt").write_text(node.sh(f"cat {assets}/ca.crt") + "\n")
    pem = node.sh(f"cat {assets}/admin.pem")
    (folder / "admin.crt").write_text(pem + "\n")
    (folder / "admin.key").write_text(pem + "\n")
    (folder / "admin.key").chmod(0o600)


def prove(cluster):
    nodes = form(cluster)
    cluster.fact("members", members(nodes[0]))
    cluster.fact("election_ms", election_ms(cluster))
    with tempfile.TemporaryDirectory() as folder:
        credentials(nodes[0], Path(folder))
        writer = Writer(cluster, Path(folder))
        try:
            hurt(cluster, nodes, writer)
        finally:
            writer.stop()
    listed = json.loads(nodes[0].until("nanocloud get configmaps -o json", seconds=60)[0])
    there = {item["data"]["number"] for item in listed["items"] if item["metadata"]["name"].startswith("write-")}
    lost = [number for number in writer.acknowledged if str(number) not in there]
    cluster.fact("acknowledged_writes", len(writer.acknowledged))
    cluster.fact("lost_acknowledged_writes", len(lost))
    check(not lost, f"lost: {lost[:20]}")


def hurt(cluster, nodes, writer):
    writer.await_progress(10)
    dead, moment = leader(cluster, nodes), time.monotonic()
    dead.power_cut()
    writer.await_progress()
    cluster.fact("seconds_without_writes_after_leader_lost_power", writer.longest_gap_since(moment))
    dead.boot()
    dead.until("systemctl is-active nanocloud && nanocloud get nodes", seconds=120)

    alone, moment = leader(cluster, nodes), time.monotonic()
    rest = [node for node in nodes if node is not alone]
    for other in rest:
        cluster.network(alone, other, cut=True)
    writer.await_progress()
    cluster.fact("seconds_without_writes_after_leader_was_cut_off", writer.longest_gap_since(moment))
    refused = alone.fails("timeout 60 nanocloud apply -f /dev/stdin <<'END'\napiVersion: v1\nkind: ConfigMap\n"
                          "metadata: {name: minority}\nEND", seconds=90)
    cluster.fact("minority_says", refused.splitlines()[0] if refused else "nothing within 60 s")
    for other in rest:
        cluster.network(alone, other)
    check("minority" not in rest[0].sh("nanocloud get configmaps -o name", seconds=60), "the minority took a write")

    moment = time.monotonic()
    for node in nodes:
        node.power_cut()
    cluster.together(*(node.boot for node in nodes))
    writer.await_progress(seconds=180)
    cluster.fact("seconds_from_full_power_loss_to_next_write", round(time.monotonic() - moment, 1))

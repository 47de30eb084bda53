"""Limits under pure cgroup v2 really bite: memory, processes, processor. WireGuard of the kernel works."""

import nanocloud
from cluster import check

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, annotations: {{nanocloud.io/pids-limit: "24"}}}}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: registry.nanocloud.io/diagnostics/loopback:latest
    command: [sh, -c, '{script}']
    resources: {{limits: {{memory: {memory}, cpu: {cpu}}}}}
"""


def run_pod(node, name, script, memory="64Mi", cpu="500m"):
    node.sh("nanocloud apply -f /dev/stdin <<'END'\n" + POD.format(name=name, script=script, memory=memory, cpu=cpu) + "END")


def ended(node, name):
    """The terminated state of a pod's container."""
    script = f"nanocloud get pod {name} -o json | grep -q '\"terminated\"'"
    node.until(script, seconds=60)
    return node.get(f"pod {name}")["status"]["containerStatuses"][0]["state"]["terminated"]


def prove(cluster):
    node = cluster.add("node01", memory_mib=768)
    nanocloud.up(node)
    check(node.sh("stat -fc %T /sys/fs/cgroup") == "cgroup2fs", "the guest is not pure v2")
    cluster.fact("controllers", node.sh("cat /sys/fs/cgroup/cgroup.controllers"))

    run_pod(node, "hungry", "x=a; while :; do x=$x$x; done", memory="32Mi")
    state = ended(node, "hungry")
    cluster.fact("memory", state)
    check(state["reason"] == "OOMKilled" and state["exitCode"] == 137, f"not killed for memory: {state}")

    # As many children as it can get; they sleep, so that their number can be read. A shell that cannot fork ends: it is
    # not the pod's first process.
    bomb = 'i=0; while [ \\$i -lt 100 ]; do sleep 1000 & i=\\$((i+1)); done'
    run_pod(node, "fork", f'sh -c "{bomb}"; exec sleep 1000')
    group = "$(dirname $(find /sys/fs/cgroup -path '*fork*' -prune -o -name pids.max -print | xargs grep -lx 24 | head -n 1))"
    node.until(f"test -e {group}/pids.events && grep -q 'max [1-9]' {group}/pids.events", seconds=60)
    pids = node.sh(f"cat {group}/pids.current; cat {group}/pids.events")
    cluster.fact("processes", pids.splitlines())
    check(int(pids.split()[0]) <= 24, f"more processes than allowed: {pids}")
    node.sh("nanocloud delete pod fork", seconds=60)

    run_pod(node, "spin", "while :; do :; done", cpu="200m")
    busy = "$(dirname $(grep -lx '20000 100000' $(find /sys/fs/cgroup -name cpu.max) | head -n 1))"
    node.until(f"test -e {busy}/cpu.stat && grep -q 'nr_throttled [1-9]' {busy}/cpu.stat", seconds=60)
    # Two readings with the guest's own clock beside them, in microseconds and in seconds.
    readings = node.sh(f"for i in 1 2; do head -n 1 {busy}/cpu.stat; cut -d' ' -f1 /proc/uptime; sleep 5; done").split()
    used = (int(readings[4]) - int(readings[1])) / 1e6 / (float(readings[5]) - float(readings[2]))
    cluster.fact("processor_share_of_200m", round(used, 3))
    check(0 < used < 0.3, f"a limit of 0.2 processors gave {used:.2f}")

    wireguard = node.sh("modprobe wireguard && ip link add wg-proof type wireguard && ip -d link show wg-proof | grep -o wireguard"
                        " && ip link del wg-proof && wg genkey | wc -c")
    cluster.fact("wireguard", wireguard.split())

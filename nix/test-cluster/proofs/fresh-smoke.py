"""A node from nothing: the unit reaches READY, an app is bound to redis, and goes again without a trace."""

import nanocloud
from cluster import check

# A binding of the proof's own: what a command says about itself, and what it is kept from.
PROBE = """
apiVersion: nanocloud.io/v1
kind: Binding
metadata: {name: probe}
spec:
  bundle: visits
  bindingId: probe
  target: {bundle: redis, service: redis}
  token: once
  command:
  - sh
  - -c
  - |
    cat /proc/self/attr/current
    printf '#!/bin/sh\\necho it ran\\n' >/tmp/tool && chmod 755 /tmp/tool && echo it wrote
    /tmp/tool || echo it may not execute that
"""


def prove(cluster):
    node = cluster.add("node01", memory_mib=768)
    node.boot()
    cluster.fact("clock_rate", round(node.check_clock(), 3))
    nanocloud.install(node)
    cluster.fact("unit_state", nanocloud.start(node).split())
    cluster.fact("exposure", node.sh("systemd-analyze security --no-pager nanocloud | tail -n 1"))
    cluster.fact("node", node.sh("nanocloud get nodes -o wide | tail -n 1"))

    node.sh("nanocloud install redis", seconds=120)
    node.sh("nanocloud install diagnostics/visits --name visits --option store=redis", seconds=120)
    cluster.fact("installed", node.sh("nanocloud get bundles").splitlines())

    check(nanocloud.visits(node) == "1", "the app's first start is the first visit")
    check(nanocloud.visits(node, "add") == "2", "exec counts the second one")
    refused = node.fails("nanocloud exec visits -- /usr/lib/nanocloud/count other", seconds=60)
    check("NOPERM" in refused or "permissions" in refused, f"the binding's user may read other keys: {refused}")
    check("visit 1" in node.sh("nanocloud logs visits"), "the log has the first visit")
    cluster.fact("binding", node.sh("nanocloud get bindings -A").splitlines()[-1])

    apparmor(cluster, node)

    confined = node.sh("nanocloud exec visits -- grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status", seconds=60)
    check("CapEff:\t0000000000000000" in confined, f"a container has capabilities: {confined}")
    cluster.fact("confined", confined.split("\n"))

    cgroups = node.sh("cat /proc/$(pgrep -xo redis-server)/cgroup")
    check(cgroups.startswith("0::/"), f"not pure v2: {cgroups}")
    cluster.fact("cgroup", cgroups)

    node.sh("nanocloud uninstall visits && nanocloud uninstall redis", seconds=120)
    node.until("! pgrep -x redis-server && ! nanocloud get pods -A | grep -q .", seconds=60)
    node.sh("systemctl stop nanocloud")
    node.sh("nanocloud teardown --purge", seconds=60)
    left = node.sh("ls -A /var/lib/nanocloud.io /run/nanocloud 2>/dev/null || :; ip -br link; "
                   "nft list tables; find /sys/fs/cgroup -name 'nanocloud*' -maxdepth 2; findmnt -rno TARGET | grep nanocloud || :")
    cluster.fact("left_behind", left.splitlines())
    check("nanocloud" not in left.replace("nanocloud.service", ""), f"teardown left something: {left}")


def apparmor(cluster, node):
    """Commands of bindings are in the profile, which adds to what user, capabilities and filter forbid."""
    told = {event["metadata"]["annotations"]["nanocloud.io/apparmor"] for event in node.get("events")["items"]
            if event["reason"] == "BindingCompleted"}
    cluster.fact("apparmor_of_bindings", sorted(told))
    check(told == {"nanocloud-bindings"}, f"bindings ran without the profile: {told}")
    node.sh(f"nanocloud apply -f /dev/stdin <<'END'\n{PROBE}END")
    node.until("nanocloud get binding probe -o json | grep -q finishedAt", seconds=60)
    said = node.get("binding probe")["status"]["message"]
    cluster.fact("command_under_apparmor", said.splitlines())
    check("nanocloud-bindings (enforce)" in said, f"not confined: {said}")
    check("it wrote" in said and "it may not execute that" in said, f"the profile does not bite: {said}")
    denied = node.sh("dmesg | grep 'apparmor=\"DENIED\"' | grep 'profile=\"nanocloud-bindings\"' | tail -n 1")
    cluster.fact("denied", denied)
    node.sh("nanocloud delete binding probe", seconds=60)

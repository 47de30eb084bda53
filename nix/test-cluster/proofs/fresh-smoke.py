"""A node from nothing: the unit reaches READY, an app is bound to redis, and goes again without a trace."""

import nanocloud
from cluster import check


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

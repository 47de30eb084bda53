"""Rollouts again and again, a restart of the server among them: no visit is lost and nothing piles up."""

import nanocloud
from cluster import check

ROUNDS = 3


def counts(node):
    """What must not grow: mounts, links, control groups, shims."""
    script = ("findmnt -rn | grep -c nanocloud || :; ip -o link | wc -l; "
              "find /sys/fs/cgroup -path '*nanocloud/pod*' -type d | wc -l; pgrep -cf 'nanocloud shim' || :")
    return [int(line) for line in node.sh(script).split()]


def prove(cluster):
    node = cluster.add("node01", memory_mib=768)
    nanocloud.up(node)
    node.sh("nanocloud install redis", seconds=120)
    node.sh("nanocloud install diagnostics/visits --name visits --option store=redis", seconds=120)
    before, visits = counts(node), int(nanocloud.visits(node))
    for number in range(ROUNDS):
        node.sh("nanocloud restart visits", seconds=120)
        nanocloud.wait_for_bundle(node, "visits")
        if number == 1:
            node.sh("systemctl kill --kill-whom=main --signal=KILL nanocloud")
            # The API is back first, the kubelet behind it later.
            node.until("nanocloud exec visits -- /usr/lib/nanocloud/count get", seconds=60)
        now = int(nanocloud.visits(node, "add"))
        check(now >= visits + 2, f"round {number}: {now} visits after {visits}")
        visits = now
    after = counts(node)
    cluster.fact("visits", visits)
    cluster.fact("mounts_links_groups_shims", {"before": before, "after": after})
    check(after == before, f"something piles up: {before} became {after}")

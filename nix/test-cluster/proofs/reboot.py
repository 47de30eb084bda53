"""Services come back after a real reboot, after a power cut, and after one in the middle of an install."""

import time

import nanocloud
from cluster import check


def back(cluster, node, what):
    """From a machine that boots to the app's answer."""
    begin = time.monotonic()
    node.until("systemctl is-active nanocloud", seconds=60)
    nanocloud.wait_for_bundle(node, "redis")
    nanocloud.wait_for_bundle(node, "visits")
    cluster.fact(f"seconds_until_ready_after_{what}", round(time.monotonic() - begin, 1))


def prove(cluster):
    node = cluster.add("node01", memory_mib=768)
    nanocloud.up(node)
    node.sh("systemctl enable nanocloud")
    node.sh("nanocloud install redis", seconds=120)
    node.sh("nanocloud install diagnostics/visits --name visits --option store=redis", seconds=120)
    check(nanocloud.visits(node, "add") == "2", "two visits before the reboot")

    node.reboot()
    back(cluster, node, "reboot")
    # The app's new start is a visit, too.
    check(int(nanocloud.visits(node)) >= 3, "visits were lost by a reboot")

    # Redis writes its log once a second: what an acknowledged sync put there must survive.
    nanocloud.visits(node, "add")
    node.sh("sleep 3")
    before = int(nanocloud.visits(node))
    node.power_cut()
    node.boot()
    back(cluster, node, "power_cut")
    check(int(nanocloud.visits(node)) > before, f"fewer than {before} visits after a power cut")

    # In the middle of an install: the bundle is accepted, nothing of it runs.
    nanocloud.attach(node)
    node.sh("nanocloud install redis --name second >/tmp/second.log 2>&1 &")
    node.until("nanocloud get bundle second")
    node.power_cut()
    node.boot()
    back(cluster, node, "power_cut_during_install")
    cluster.fact("seconds_until_interrupted_install_ready", round(nanocloud.wait_for_bundle(node, "second"), 1))
    check(nanocloud.visits(node).isdigit(), "the first services work beside it")
    cluster.fact("boots", node.sh("journalctl --list-boots --no-pager | wc -l"))

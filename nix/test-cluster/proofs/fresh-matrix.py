"""Services of the catalog, each fresh and in the variants that matter, then gone again."""

import time

import nanocloud

VARIANTS = [
    ("redis", ["redis"], "redis"),
    ("redis-tls", ["redis", "--name", "tls", "--option", "transport=tls"], "tls"),
    ("redis-small", ["redis", "--name", "small", "--option", "memory=64Mi", "--option", "publish=16379"], "small"),
    ("loopback", ["diagnostics/loopback"], "diagnostics-loopback"),
]


def prove(cluster):
    node = cluster.add("node01", memory_mib=768)
    nanocloud.up(node)
    seconds = {}
    for name, words, bundle in VARIANTS:
        begin = time.monotonic()
        node.sh(f"nanocloud install {' '.join(words)}", seconds=120)
        nanocloud.wait_for_bundle(node, bundle)
        seconds[name] = round(time.monotonic() - begin, 1)
        cluster.say(f"{name} is ready after {seconds[name]} s")
    cluster.fact("install_seconds", seconds)
    node.until("printf 'PING\\r\\n' | timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/16379; cat >&3; head -n 1 <&3' | grep -q NOAUTH")
    cluster.fact("bundles", node.sh("nanocloud get bundles").splitlines())
    for _, _, bundle in VARIANTS:
        node.sh(f"nanocloud uninstall {bundle}", seconds=60)
    node.until("test -z \"$(nanocloud get pods -A -o name)\"", seconds=60)

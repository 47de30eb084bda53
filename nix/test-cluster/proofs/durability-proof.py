"""Backup, power cut, loss of everything, restore: objects, secrets and data are there again."""

import nanocloud
from cluster import STATE, check


def prove(cluster):
    node = cluster.add("node01", memory_mib=768, disks=[{"serial": "backup", "mib": 256}])
    nanocloud.up(node)
    node.sh("mkfs.ext4 -q /dev/disk/by-id/virtio-backup && mkdir /backup && mount /dev/disk/by-id/virtio-backup /backup")
    node.sh("nanocloud install redis", seconds=120)
    node.sh("nanocloud install diagnostics/visits --name visits --option store=redis", seconds=120)
    node.sh("nanocloud exec visits -- /usr/lib/nanocloud/count store kept-through-fire", seconds=60)
    password = node.secret("visits-profile", "store_password")

    # Redis writes its log once a second.
    node.sh("sleep 3")
    node.sh("nanocloud keyspace snapshot save /backup/keyspace.snapshot", seconds=60)
    cluster.fact("snapshot", node.sh("nanocloud keyspace snapshot verify /backup/keyspace.snapshot").splitlines())
    node.sh(f"cp -a {STATE}/secure_assets {STATE}/storage /backup/ && sync", seconds=60)
    check(password not in node.sh("strings -n 8 /backup/keyspace.snapshot 2>/dev/null || tr -c '[:print:]' '\\n' "
                                  "</backup/keyspace.snapshot"), "the snapshot has a secret in clear")

    node.power_cut()
    node.boot()
    nanocloud.attach(node)
    node.sh("mkdir -p /backup && mount /dev/disk/by-id/virtio-backup /backup")
    node.sh(f"systemctl stop nanocloud; rm -rf {STATE}/keyspace {STATE}/secure_assets {STATE}/storage {STATE}/network")

    node.sh(f"cp -a /backup/secure_assets /backup/storage {STATE}/")
    node.sh("nanocloud keyspace snapshot restore /backup/keyspace.snapshot", seconds=60)
    nanocloud.start(node)
    cluster.fact("seconds_until_redis_ready", round(nanocloud.wait_for_bundle(node, "redis"), 1))
    cluster.fact("seconds_until_app_ready", round(nanocloud.wait_for_bundle(node, "visits"), 1))
    check(nanocloud.visits(node, "read") == "kept-through-fire", "the data are not those of the backup")
    check(node.secret("visits-profile", "store_password") == password, "the secret is not that of the backup")
    cluster.fact("restored", node.sh("nanocloud get bundles").splitlines())

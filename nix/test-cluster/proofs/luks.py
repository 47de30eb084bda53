"""Encrypted volumes: the disk that holds them has no plaintext, and they are unlocked again after a reboot."""

from pathlib import Path

import nanocloud
from cluster import STATE, check

MARKER = "plaintext-marker-of-the-proof"
OBJECTS = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec:
  storageClassName: {storage_class}
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 32Mi}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Always
  containers:
  - name: main
    image: registry.nanocloud.io/diagnostics/loopback:latest
    command: [sh, -c, "test -e /data/marker || echo {marker} >/data/marker; sync; cat /data/marker; trap exit TERM; sleep infinity & wait"]
    volumeMounts: [{{name: data, mountPath: /data}}]
  volumes:
  - name: data
    persistentVolumeClaim: {{claimName: {name}}}
"""


def found(disk, text):
    """Whether a raw disk, read on the host while the guest is off, has a text."""
    text, overlap = text.encode(), len(text)
    with open(disk, "rb") as raw:
        before = b""
        while piece := raw.read(1 << 20):
            if text in before + piece:
                return True
            before = piece[-overlap:]
    return False


def prove(cluster):
    node = cluster.add("node01", memory_mib=768, disks=[{"serial": "csi", "mib": 512}])
    node.boot()
    nanocloud.install(node)
    # Volumes on a disk of their own, which is then searched from outside.
    node.sh("mkfs.ext4 -q /dev/disk/by-id/virtio-csi && mkdir -p /srv/csi && "
            "echo '/dev/disk/by-id/virtio-csi /srv/csi ext4 defaults 0 2' >>/etc/fstab && mount /srv/csi && "
            "echo 'csi_root = \"/srv/csi\"' >>/etc/nanocloud/config.toml && systemctl enable nanocloud")
    nanocloud.start(node)
    for name, storage_class in [("sealed", "encrypted"), ("open", "local")]:
        objects = OBJECTS.format(name=name, storage_class=storage_class, marker=f"{MARKER}-{name}")
        node.sh(f"nanocloud apply -f /dev/stdin <<'END'\n{objects}END")
        node.until(f"nanocloud logs {name} | grep -q {MARKER}-{name}", seconds=120)
    images = node.sh("ls /srv/csi/images").split()
    check(len(images) == 1, f"one container is expected: {images}")
    cluster.fact("luks", node.sh(f"cryptsetup isLuks -v /srv/csi/images/{images[0]}; "
                                 f"cryptsetup luksDump /srv/csi/images/{images[0]} | grep -E 'Version|cipher|PBKDF:'").split("\n"))
    cluster.fact("mapping", node.sh("dmsetup table 2>/dev/null || cryptsetup status $(ls /dev/mapper | grep nanocloud)").splitlines())
    cluster.fact("key", node.sh(f"stat -c '%a %s' {STATE}/secure_assets/volumes/*.key"))
    node.sh("sync")

    node.power_cut()
    disk = Path(node.disks["csi"])
    cluster.fact("plaintext_of_encrypted_volume_on_disk", found(disk, f"{MARKER}-sealed"))
    cluster.fact("plaintext_of_open_volume_on_disk", found(disk, f"{MARKER}-open"))
    check(found(disk, f"{MARKER}-open"), "the search itself finds nothing: it proves nothing")
    check(not found(disk, f"{MARKER}-sealed"), "the encrypted volume's data are on the disk in clear")

    node.boot()
    node.until("systemctl is-active nanocloud", seconds=60)
    node.until("nanocloud exec sealed -- cat /data/marker", seconds=120)
    check(node.sh("nanocloud exec sealed -- cat /data/marker") == f"{MARKER}-sealed", "other data after the reboot")

    node.sh("nanocloud delete pod sealed", seconds=60)
    node.until("! ls /dev/mapper | grep -q nanocloud", seconds=30)
    node.sh("nanocloud delete pvc sealed", seconds=60)
    node.until(f"test -z \"$(ls /srv/csi/images)\" && test -z \"$(ls {STATE}/secure_assets/volumes)\"", seconds=60)
    cluster.fact("after_deletion", "no mapping, no container, no key")

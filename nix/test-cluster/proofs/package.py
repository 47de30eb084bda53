"""The Debian package: dpkg -i, systemctl start, and after apt purge nothing is left but data."""

import nanocloud
from cluster import STATE, check


def prove(cluster):
    node = cluster.add("node01", memory_mib=768)
    node.boot()
    nanocloud.attach(node)
    check(node.run("test", "-e", "/run/payload/nanocloud.deb")["code"] == 0, "no package: run `make package` first")
    node.sh("find /etc /usr /lib -xdev | sort >/root/before")
    cluster.fact("package", node.sh("dpkg-deb -f /run/payload/nanocloud.deb Package Version Depends Installed-Size").splitlines())
    node.sh("dpkg -i /run/payload/nanocloud.deb", seconds=120)
    nanocloud.start(node)
    cluster.fact("node", node.sh("nanocloud get nodes | tail -n 1"))
    cluster.fact("apparmor", node.sh("grep nanocloud /sys/kernel/security/apparmor/profiles"))
    check(node.sh("systemctl is-enabled nanocloud") == "enabled", "the package does not enable its unit")

    node.sh(f"mkdir -p {STATE} && cp -a /run/payload/catalog {STATE}/ && nanocloud install redis", seconds=180)
    node.sh("DEBIAN_FRONTEND=noninteractive apt-get purge -y nanocloud", seconds=120)
    check(node.run("systemctl", "cat", "nanocloud")["code"] != 0, "the unit is still there")
    left = node.sh("find /etc /usr /lib -xdev | sort | comm -13 /root/before - || :")
    cluster.fact("left_behind", left.splitlines())
    check("nanocloud" not in left, f"purge left files: {left}")
    check("nanocloud" not in node.sh("cat /sys/kernel/security/apparmor/profiles"), "the AppArmor profile is still loaded")
    cluster.fact("processes_left", node.sh("pgrep -a nanocloud || echo none"))
    cluster.fact("data", node.sh(f"ls {STATE}").split())

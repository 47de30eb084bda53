"""What proofs do with a node, whichever way it was installed."""

import time

from cluster import Failed, check

READY = "systemctl show -p ActiveState --value nanocloud"


def attach(node):
    """Mounts the payload disk."""
    # The agent is there before the machine is up.
    node.sh("systemctl is-system-running --wait || systemctl --failed --no-pager", seconds=60)
    node.sh("mkdir -p /run/payload && mount -o ro /dev/disk/by-id/virtio-payload /run/payload")


def install(node, unit="nanocloud", **settings):
    """Installs nanocloud, without starting it."""
    attach(node)
    words = " ".join(f"'{name}={value}'" for name, value in settings.items())
    node.sh(f"/run/payload/guest/prepare {unit} {words}", seconds=60)


def start(node):
    """Starts the unit; `systemctl start` of a notify unit returns when the server said READY."""
    node.sh("systemctl start nanocloud", seconds=120)
    state = node.sh("systemctl show -p Type,ActiveState,SubState,StatusText,NRestarts nanocloud")
    check("Type=notify" in state and "ActiveState=active" in state, f"not ready: {state}")
    check("NRestarts=0" in state, f"it did not start at the first try: {state}")
    return state


def up(node, unit="nanocloud", **settings):
    """From power on to a node that is ready."""
    node.boot()
    install(node, unit, **settings)
    return start(node)


def is_ready(node, name):
    """Whether a bundle's condition Ready is True; False as well while the server does not answer."""
    try:
        conditions = node.get(f"bundle {name}").get("status", {}).get("conditions", [])
    except Failed:
        return False
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def wait_for_bundle(node, name, seconds=120):
    """Waits until a bundle is ready; gives the seconds that took."""
    begin = time.monotonic()
    while not is_ready(node, name):
        if time.monotonic() - begin > seconds * node.cluster.stretch:
            raise Failed(f"{name} is not ready after {time.monotonic() - begin:.0f} s")
        time.sleep(1)
    return time.monotonic() - begin


def visits(node, action="get", name="visits"):
    """Runs the app's program in its pod."""
    return node.sh(f"nanocloud exec {name} -- /usr/lib/nanocloud/count {action}", seconds=60)

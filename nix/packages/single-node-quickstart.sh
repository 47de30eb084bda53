# Boots the single node in QEMU and waits until its API says that it is ready.
#
# NANOCLOUD_QUICKSTART_KEEP_VM=1 keeps the machine running afterwards, with its console here.
# NANOCLOUD_QUICKSTART_TIMEOUT is how long to wait, in seconds.
set -euo pipefail

machine=${NANOCLOUD_QUICKSTART_MACHINE:?}
keep=${NANOCLOUD_QUICKSTART_KEEP_VM:-0}
patience=${NANOCLOUD_QUICKSTART_TIMEOUT:-600}
url=https://127.0.0.1:6443

work=$(mktemp -d)
process=
# Called by the trap.
# shellcheck disable=SC2317,SC2329
cleanup() {
  if [ -n "$process" ] && kill "$process" 2>/dev/null; then
    wait "$process" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# QEMU forwards both, and says of neither which one it could not have.
for port in 6443 8080; do
  if (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "port $port of this machine is taken: stop what listens there, then try again" >&2
    exit 69
  fi
done

export NIX_DISK_IMAGE="$work/disk.qcow2"
begin=$SECONDS

# The authority of the new node is not known here; only whether it is ready is asked.
wait_until_ready() {
  until [ "$(curl --silent --insecure --max-time 2 "$url/readyz")" = ok ]; do
    if ! kill -0 "$1" 2>/dev/null; then
      echo "the machine ended before it was ready" >&2
      return 1
    fi
    if [ $((SECONDS - begin)) -ge "$patience" ]; then
      echo "the machine is not ready after $patience seconds" >&2
      return 124
    fi
    sleep 1
  done
  echo "ready after $((SECONDS - begin)) seconds: $url"
}

if [ "$keep" = 1 ]; then
  # The console stays here; whoever waits tells when it is ready. Ctrl-A X ends the machine.
  wait_until_ready $$ &
  process=$!
  "$machine"
  exit
fi

echo "booting a machine; this takes a minute with KVM, or ten without"
"$machine" </dev/null >"$work/console" 2>&1 &
process=$!
code=0
wait_until_ready "$process" || code=$?
if [ "$code" -ne 0 ]; then
  tail -n 40 "$work/console" >&2
fi
exit "$code"

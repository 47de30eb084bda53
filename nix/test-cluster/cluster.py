"""Guests for proofs: a thin layer over `vmtest serve`, which owns the machines.

A proof is a function `prove(cluster)` in proofs/<name>.py. It adds nodes, runs commands in them, hurts them, and records
facts; an assertion that fails, fails the proof. The same proofs run on Debian guests, built here, and on NixOS guests,
which are described by a file (`--guests`).
"""

import base64
import itertools
import json
import os
import subprocess
import threading
import time
from pathlib import Path

STATE = "/var/lib/nanocloud.io"
# What a proof installs, beside what the catalog on the payload disk has.
ENVIRONMENT = [["PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin"],
               ["HOME", "/root"], ["LC_ALL", "C.UTF-8"]]


class Failed(Exception):
    """A command failed, or something that must hold does not."""


class Harness:
    """A `vmtest serve` process; requests may come from any thread."""

    def __init__(self, program, cache, name, artifacts):
        self.process = subprocess.Popen(
            [program, "serve", str(cache), name, str(artifacts)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()
        self.waiting = {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            answer = json.loads(line)
            slot = self.waiting.pop(answer["id"], None)
            if slot:
                slot["answer"] = answer
                slot["ready"].set()
        for slot in list(self.waiting.values()):
            slot["answer"] = {"error": "the harness ended"}
            slot["ready"].set()

    def ask(self, op, **fields):
        number = next(self.numbers)
        slot = self.waiting[number] = {"ready": threading.Event()}
        with self.lock:
            self.process.stdin.write(json.dumps({"id": number, "op": op, **fields}) + "\n")
            self.process.stdin.flush()
        slot["ready"].wait()
        if "error" in slot["answer"]:
            raise Failed(slot["answer"]["error"])
        return slot["answer"]["ok"]

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Node:
    """A guest."""

    def __init__(self, cluster, name, added):
        self.cluster, self.name = cluster, name
        self.forwards, self.disks = added["forwards"], added["disks"]

    def _ask(self, op, **fields):
        return self.cluster.harness.ask(op, guest=self.name, **fields)

    def boot(self):
        answer = self._ask("boot")
        self.cluster.say(f"{self.name}: agent answers after {answer['seconds']:.1f} s")
        return answer

    def run(self, *argv, seconds=30, stdin=""):
        """Runs a program; gives code, stdout and stderr."""
        return self._ask("run", argv=list(argv), env=ENVIRONMENT, stdin=stdin, seconds=seconds)

    def sh(self, script, seconds=30, stdin=""):
        """Runs a shell script that must succeed; gives its output."""
        begin = time.monotonic()
        result = self.run("sh", "-euc", script, seconds=seconds, stdin=stdin)
        said = (result["stdout"] + result["stderr"]).strip()
        self.cluster.log(f"{self.name}$ {script}\n{said}\n[{result['code']}, {time.monotonic() - begin:.1f} s]\n")
        if result["code"] != 0:
            raise Failed(f"{self.name}: {script}\nended with {result['code']}: {said[-3000:]}")
        return result["stdout"].strip()

    def fails(self, script, seconds=30):
        """Runs a shell script that must fail; gives what it said."""
        result = self.run("sh", "-euc", script, seconds=seconds)
        said = (result["stdout"] + result["stderr"]).strip()
        self.cluster.log(f"{self.name}$ {script}   (must fail)\n{said}\n[{result['code']}]\n")
        if result["code"] == 0:
            raise Failed(f"{self.name}: {script}\nsucceeded: {said[-3000:]}")
        return said

    def until(self, script, seconds=60, pause=0.5):
        """Repeats a shell script until it succeeds; gives its output and the seconds that took."""
        begin = time.monotonic()
        limit = seconds * self.cluster.stretch
        while True:
            try:
                result = self.run("sh", "-euc", script, seconds=20)
            except Failed as error:
                result = {"code": -1, "stdout": "", "stderr": str(error)}
            took = time.monotonic() - begin
            if result["code"] == 0:
                self.cluster.log(f"{self.name}$ until {script}\n{result['stdout'].strip()}\n[{took:.1f} s]\n")
                return result["stdout"].strip(), took
            if took > limit:
                said = (result["stdout"] + result["stderr"]).strip()
                raise Failed(f"{self.name}: after {took:.0f} s still: {script}\n{said[-3000:]}")
            time.sleep(pause)

    def get(self, what):
        """Objects as the API has them."""
        return json.loads(self.sh(f"nanocloud get {what} -o json"))

    def secret(self, name, key):
        return base64.b64decode(self.get(f"secret {name}")["data"][key]).decode()

    def power_cut(self):
        self.cluster.say(f"{self.name}: power cut")
        self._ask("power_cut")

    def reboot(self):
        answer = self._ask("reboot", argv=["systemctl", "reboot"])
        self.cluster.say(f"{self.name}: back {answer['seconds']:.1f} s after `systemctl reboot`")
        return answer

    def pause(self, paused=True):
        self._ask("pause", paused=paused)

    def link(self, up):
        self._ask("link", up=up)

    def check_clock(self):
        return self._ask("check_clock")["rate"]

    def diagnose(self):
        """What helps to understand a failure; never fails."""
        script = ("systemctl status nanocloud --no-pager -n 0; journalctl -u nanocloud --no-pager -n 200;"
                  "nanocloud get pods -A -o wide; nanocloud events -A; dmesg | tail -n 40;"
                  "cat /proc/pressure/* ; free -m; df -h")
        try:
            result = self.run("sh", "-c", script, seconds=20)
            self.cluster.log(f"== {self.name}, after the failure\n{result['stdout']}{result['stderr']}")
        except Failed as error:
            self.cluster.log(f"== {self.name}: {error}")


class Cluster:
    """All guests of one proof."""

    def __init__(self, harness, guests, payload, artifacts):
        self.harness, self.guests, self.payload, self.artifacts = harness, guests, payload, artifacts
        self.nodes, self.facts, self.begin, self.stretch = {}, {}, time.monotonic(), 1
        self.record = open(artifacts / "proof.log", "a", encoding="utf-8", buffering=1)

    def log(self, text):
        self.record.write(f"[{time.monotonic() - self.begin:7.1f}] {text}\n")

    def say(self, text):
        print(f"{self.artifacts.name} [{time.monotonic() - self.begin:6.1f}] {text}", flush=True)
        self.log(text)

    def fact(self, name, value):
        """Records a figure or evidence for result.json."""
        self.facts[name] = value
        self.say(f"{name} = {value}")

    def add(self, name, *, memory_mib=512, cpus=1, address=None, disks=(), forwards=()):
        """Adds a guest; it is off. Every guest has the payload disk."""
        payload = {"serial": "payload", "path": str(self.payload)}
        spec = {"name": name, "image": self.guests["image"], "memory_mib": memory_mib, "cpus": cpus,
                "address": address, "disks": [payload, *disks], "forwards": list(forwards)}
        added = self.harness.ask("add", spec=spec)
        # As the harness stretches its own limits.
        self.stretch = 15 if added["accelerator"] == "tcg" else 1
        node = self.nodes[name] = Node(self, name, added)
        return node

    def network(self, one, other, *, cut=False, delay_ms=0, loss=0.0):
        self.harness.ask("network", one=one.name, other=other.name,
                         rule={"cut": cut, "delay_ms": delay_ms, "loss": loss})

    def together(self, *functions):
        """Runs functions at the same time; gives their results, or the first failure."""
        results, failures = [None] * len(functions), []

        def call(number, function):
            try:
                results[number] = function()
            except Exception as error:  # handed to the caller below
                failures.append(error)

        threads = [threading.Thread(target=call, args=pair) for pair in enumerate(functions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return results


def check(condition, message):
    """Like assert, and never switched off."""
    if not condition:
        raise Failed(message)


def environment_path(name, default):
    return Path(os.environ.get(name, default))

"""How fast images reach hosts, beside the ways people use today: `make bench-push`.

A lab of three hosts is made for it and removed at the end. Each way gets the same image, 1.35 GB with torch, on hosts
without any of its layers, then three versions of it that each differ by one 3 MB layer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from peers import load_through_ssh, registry_through_ssh
from table import Case, say, show, times_faster, write

from canaryctl import lab as labs

ROOT = Path(__file__).parents[1]
CTL = str(Path(sys.executable).with_name("canaryctl"))
LAB = "bench"
HOSTS = ("bench-1", "bench-2", "bench-3")
IMAGE = "canaryctl-bench"
LINK = 200e6 / 8  # bytes a second
MEMORY = 150.0  # MB
FIRST = """\
FROM ktrdr-worker-cpu:test
USER root
RUN mkdir /more && cp $(ls -S /usr/lib/x86_64-linux-gnu/*.so.*.* /usr/bin/* | head -n 70) /more/
"""
STACK = {
    "stack": "bench",
    "images": {"worker": {"tag": f"{IMAGE}:first"}},
    "variants": {"only": {"worker": "worker"}},
    "placement": {"all": ["worker"]},
    "compose": "compose.yml.j2",
}
COMPOSE = 'services: {worker: {image: "{{ images.worker }}", pull_policy: never}}\n'


class Bench:
    """A project of its own over the bench lab, and what is measured in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lab = labs.require(LAB)
        self.env = {**os.environ, "CANARYCTL_LAB": LAB, "XDG_CACHE_HOME": str(folder / "cache")}
        self.peak = 0.0
        (folder / "canaryctl.yml").write_text("stack: stack.yml\ninventories: inventories\nruns: runs\n")
        (folder / "stack.yml").write_text(json.dumps(STACK))
        (folder / "compose.yml.j2").write_text(COMPOSE)
        (folder / "probes.yml").write_text("[]\n")
        for name, hosts in (("one", HOSTS[:1]), ("three", HOSTS)):
            variables = folder / "inventories" / name / "group_vars" / "all"
            variables.mkdir(parents=True)
            shutil.copy(ROOT / "inventories/canary/group_vars/all/connection.yml", variables)
            (variables / "policy.yml").write_text("canary_provision: auto\n")
            (variables.parents[1] / "hosts.yml").write_text(
                json.dumps({"all": {"hosts": {host: {} for host in hosts}}})
            )

    def ctl(self, *argv: str) -> tuple[float, str]:
        """Seconds that a canaryctl took, and what it printed. The most memory of any is kept in `peak`."""
        with (self.folder / "output").open("w+") as out:
            began = time.monotonic()
            child = subprocess.Popen([CTL, *argv], cwd=self.folder, env=self.env, stdout=out, stdin=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.monotonic() - began
            child.returncode = os.waitstatus_to_exitcode(status)
            self.peak = max(self.peak, usage.ru_maxrss / 1e3)
            out.seek(0)
            text = out.read()
        if child.returncode:
            raise SystemExit(f"canaryctl {' '.join(argv)} failed:\n{text[-3000:]}")
        return seconds, text

    def push(self, environment: str, version: str) -> float:
        """Seconds of a push."""
        return self.ctl("push", environment, "--image", f"worker={IMAGE}:{version}")[0]

    def on(self, host: str, command: str) -> str:
        """What a shell command prints, run as root on a host."""
        argv = ["docker", "exec", self.lab.hosts[host].container, "sh", "-c", command]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def forget(self, hosts: Sequence[str] = HOSTS, *, here: bool = True) -> None:
        """Hosts without images, and nothing packed here."""
        for host in hosts:
            self.on(host, "docker image prune -af; rm -rf /opt/canaryctl/.incoming; sync")
        if here:
            shutil.rmtree(self.folder / "cache", ignore_errors=True)

    def received(self, host: str) -> int:
        """Bytes that a host's network interface has taken in."""
        return int(self.on(host, "cat /sys/class/net/eth0/statistics/rx_bytes"))

    def packed(self) -> int:
        """Bytes of the layers packed here."""
        return sum(file.stat().st_size for file in (self.folder / "cache/canaryctl/layers").glob("*.zst"))

    @contextlib.contextmanager
    def slow_link(self, host: str) -> Iterator[None]:
        """Limit what reaches a host to 200 Mbit/s, where this machine's bridge meets its interface."""
        index = self.on(host, "cat /sys/class/net/eth0/iflink").strip()
        links = {(path / "ifindex").read_text().strip(): path.name for path in Path("/sys/class/net").iterdir()}
        limit = ["root", "tbf", "rate", "200mbit", "burst", "256kb", "latency", "100ms"]
        subprocess.run(["tc", "qdisc", "replace", "dev", links[index], *limit], check=True)
        try:
            yield
        finally:
            subprocess.run(["tc", "qdisc", "del", "dev", links[index], "root"], check=True)


def build() -> None:
    """The image in four versions."""
    with tempfile.TemporaryDirectory() as folder:
        for version in ("first", "a", "b", "c"):
            text = FIRST if version == "first" else f"FROM {IMAGE}:first\nCOPY blob /blob\n"
            if version != "first":
                Path(folder, "blob").write_bytes(os.urandom(3_000_000))
            Path(folder, "Dockerfile").write_text(text)
            env = {**os.environ, "DOCKER_BUILDKIT": "0"}
            argv = ["docker", "build", "-q", "-t", f"{IMAGE}:{version}", folder]
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)


def measure(bench: Bench) -> Iterator[Case]:
    """Every case of the table, hosts and caches as new before each first push."""
    lab, plain = bench.lab, "docker save | ssh docker load"
    changed = [f"{IMAGE}:{version}" for version in ("a", "b", "c")]

    def loaded(host: str, image: str) -> float:
        return load_through_ssh(labs.ssh_argv(lab, host, "sudo docker load -q"), image)

    bench.forget()
    peer_first = loaded(HOSTS[0], f"{IMAGE}:first")
    peer_second = statistics.median(loaded(HOSTS[0], image) for image in changed)
    bench.forget()
    yield times_faster("first push, one host", bench.push("one", "first"), plain, peer_first, 1.3)
    before = bench.packed()
    taken = bench.received(HOSTS[0])
    ours_second = [bench.push("one", "a")]
    taken, new = bench.received(HOSTS[0]) - taken, bench.packed() - before
    ours_second += [bench.push("one", version) for version in ("b", "c")]
    yield times_faster("second push (3 MB change), one host", statistics.median(ours_second), plain, peer_second, 10)
    yield Case("bytes on the wire, second push", taken, "packed bytes of the new layer", new, "bytes", 1.1, "at_most")

    bench.forget()
    peer_three = sum(loaded(host, f"{IMAGE}:first") for host in HOSTS)
    bench.forget()
    ours_three = bench.push("three", "first")
    yield times_faster("first push, three hosts", ours_three, f"{plain}, one after the other", peer_three, 2.5)
    nothing = statistics.median(bench.push("three", "first") for _ in range(5))
    bare = statistics.median(timed(labs.ssh_argv(lab, HOSTS[0], "true")) for _ in range(5))
    yield Case("nothing to push, three hosts", nothing, "ssh host true", bare, "s", 6, "at_most")

    bench.forget(HOSTS[:1])
    with bench.slow_link(HOSTS[0]):
        began = time.time()
        seconds, text = bench.ctl("push", "one", "--output", "ndjson")
    events = [json.loads(line) for line in text.splitlines()]
    arrived = next(moment(event) for event in events if event["type"] == "push.arrived") - began
    note = f"unpacking after it: {seconds - arrived:.1f} s"
    ideal = bench.packed() / LINK
    yield Case(
        "first push on 200 Mbit/s, to the last byte",
        arrived,
        "packed bytes at that rate",
        ideal,
        "s",
        1.25,
        "at_most",
        note,
    )
    yield Case("memory of our process, the most of all", bench.peak, "150 MB", MEMORY, "MB", 1, "at_most")
    if shutil.which("docker-registry"):
        bench.forget(HOSTS[:1])
        with registry_through_ssh(lab, HOSTS[0]) as deliver:
            way = "docker push to a registry here, pulled through ssh -R"
            first = deliver(f"{IMAGE}:first")
            second = statistics.median(deliver(image) for image in changed)
        bench.forget(HOSTS[:1])
        yield times_faster("first push, one host, beside a registry", bench.push("one", "first"), way, first, 1.3)
        yield times_faster("second push, one host, beside a registry", statistics.median(ours_second), way, second, 1)


def moment(event: dict[str, str]) -> float:
    """When an event happened, in seconds since the epoch."""
    from datetime import datetime

    return datetime.fromisoformat(event["time"]).timestamp()


def timed(argv: Sequence[str]) -> float:
    """Seconds that a command takes."""
    began = time.monotonic()
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def huge(bench: Bench) -> None:
    """A 10 GB image of random layers, tried once."""
    with tempfile.TemporaryDirectory() as folder:
        text = ["FROM ktrdr-backend:test", "USER root"]
        text += [f"RUN head -c 1000000000 /dev/urandom > /blob{n}" for n in range(10)]
        Path(folder, "Dockerfile").write_text("\n".join(text))
        argv = ["docker", "build", "-q", "--no-cache", "-t", f"{IMAGE}:huge", folder]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    try:
        seconds = bench.push("one", "huge")
        say(f"10 GB of random layers: {seconds:.0f} s, {10000 / seconds:.0f} MB/s, memory {bench.peak:.0f} MB")
    finally:
        subprocess.run(["docker", "rmi", "-f", f"{IMAGE}:huge"], stdout=subprocess.DEVNULL)


def main() -> None:
    """Make the lab and the images, measure, write the table, and remove them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--huge", action="store_true", help="only push a 10 GB image, once")
    parser.add_argument("--keep", action="store_true", help="leave the lab for the next time")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the lab would stay
    env = {"BASE_IMAGE": labs.base_image(say), **os.environ}
    subprocess.run(
        [CTL, "build", "worker_cpu", "--build-arg", "BASE_IMAGE"],
        cwd=ROOT,
        env=env,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    say("building the images, and three hosts")
    cases: list[Case] = []
    try:
        build()
        labs.up(LAB, HOSTS)
        with tempfile.TemporaryDirectory(prefix="bench-push-") as folder:
            bench = Bench(Path(folder))
            bench.ctl("provision", "three")
            if options.huge:
                huge(bench)
                return
            size = subprocess.check_output(["docker", "image", "inspect", f"{IMAGE}:first", "--format", "{{.Size}}"])
            say(f"image: {int(size) / 1e9:.2f} GB; load of this machine now: {shlex.join(map(str, os.getloadavg()))}")
            for case in measure(bench):
                cases.append(case)
                show(case)
                write("push", cases)  # what is measured stays, whatever happens next
    finally:
        if not options.keep:
            labs.down(LAB, purge=True)
            versions = [f"{IMAGE}:{version}" for version in ("a", "b", "c", "first")]
            subprocess.run(["docker", "rmi", "-f", *versions], stdout=subprocess.DEVNULL)
    say(f"written: {write('push', cases)}; load of this machine now: {shlex.join(map(str, os.getloadavg()))}")


if __name__ == "__main__":
    main()

"""How long audits take, of a lab host and of fifty simulated ones, beside Ansible gathering facts: make bench-audit.

A simulated host is a container with sshd, Python and sudo, without systemd and without Docker: what is measured is the
fifty connections and answers, not fifty Dockers. The lab host has Docker. All run on this machine and share its cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from table import Case, say, show, write

from canaryctl import lab as labs

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
LAB, HOST = "bench-audit", "bench-1"
IMAGE = "canaryctl-bench-audit"
SIMULATED = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends iproute2 openssh-server python3 sudo \
 && rm -rf /var/lib/apt/lists/* \
 && printf 'PasswordAuthentication no\\nPermitRootLogin no\\n' >/etc/ssh/sshd_config.d/logins.conf \
 && useradd --create-home --shell /bin/bash ops && echo 'ops ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/ops \
 && install -d -o ops -m 0700 /home/ops/.ssh && install -d /run/sshd
COPY key.pub /home/ops/.ssh/authorized_keys
RUN chown ops /home/ops/.ssh/authorized_keys && chmod 0600 /home/ops/.ssh/authorized_keys
CMD ["/usr/sbin/sshd", "-D", "-e"]
"""
STACK = {
    "stack": "bench",
    "images": {"web": {"tag": "web:1"}},
    "variants": {"only": {"web": "web"}},
    "placement": {"all": ["web"]},
    "compose": "compose.yml.j2",
}
COMPOSE = 'services: {web: {image: "{{ images.web }}", ports: ["{{ address }}:8080:80"]}}\n'


class Bench:
    """A project of its own over the lab host and the simulated ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "CANARYCTL_LAB": LAB, "PYTHONPATH": str(ROOT), "ANSIBLE_HOST_KEY_CHECKING": "True"}
        for name, text in {
            "canaryctl.yml": "stack: stack.yml\ninventories: inventories\nruns: runs\n",
            "stack.yml": json.dumps(STACK),
            "compose.yml.j2": COMPOSE,
            "probes.yml": "[]\n",
            "gather.yml": "- {hosts: all, gather_facts: true}\n",
            "inventories/one/hosts.yml": json.dumps({"servers": {"hosts": {HOST: {}}}}),
        }.items():
            self.write(name, text)
        connection = (ROOT / "inventories/canary/group_vars/all/connection.yml").read_text()
        self.write("inventories/one/group_vars/all/connection.yml", connection)
        self.write("inventories/one/group_vars/all/policy.yml", "canary_provision: auto\n")

    def write(self, path: str, text: str) -> Path:
        """A file of the project."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def run(self, *argv: str, codes: Sequence[int] = (0,)) -> tuple[float, float]:
        """Seconds that a command took, and the most memory that its process had, in MB."""
        with (self.folder / "output").open("w+b") as out:
            began = time.monotonic()
            child = subprocess.Popen(
                [str(BIN / argv[0]), *argv[1:]],
                cwd=self.folder,
                # No connection is left open for the next command: each makes its own, as ours does.
                env={**self.env, "ANSIBLE_SSH_CONTROL_PATH_DIR": tempfile.mkdtemp(dir=self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            _, status, used = os.wait4(child.pid, 0)
            seconds = time.monotonic() - began
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode not in codes:
                out.seek(0)
                raise SystemExit(f"{' '.join(argv)} failed:\n{out.read()[-3000:].decode(errors='replace')}")
        return seconds, used.ru_maxrss * 1024 / 1e6

    def audit(self, environment: str, times: int) -> tuple[float, float]:
        """Median seconds and peak memory in MB; that a bare host has findings (exit 1) is no failure here."""
        taken = [self.run("canaryctl", "audit", environment, "--output", "json", codes=(0, 1)) for _ in range(times)]
        return statistics.median(seconds for seconds, _ in taken), max(memory for _, memory in taken)

    def ansible(self, *argv: str, times: int) -> float:
        """Median seconds of an Ansible command, which fails where a host does."""
        return statistics.median(self.run(*argv)[0] for _ in range(times))


@contextmanager
def simulated(bench: Bench, count: int) -> Iterator[None]:
    """Containers with sshd, and the environment `fifty` over them; both go at the end."""
    base = labs.base_image(say)
    context = bench.folder / "image"
    context.mkdir()
    key = bench.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    shutil.copy(f"{key}.pub", context / "key.pub")
    (context / "Dockerfile").write_text(SIMULATED)
    build = ["docker", "build", "-q", "-t", IMAGE, "--build-arg", f"BASE_IMAGE={base}", str(context)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    names = [f"{IMAGE}-{number}" for number in range(1, count + 1)]

    def start(name: str) -> int:
        subprocess.run(
            ["docker", "run", "-d", "--name", name, "--label", IMAGE, "-p", "127.0.0.1::22", IMAGE],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        port = subprocess.check_output(["docker", "port", name, "22/tcp"], text=True).split(":")[-1]
        return int(port)

    try:
        with ThreadPoolExecutor(4) as pool:
            ports = list(pool.map(start, names))
        _describe(bench, key, dict(zip(names, ports, strict=True)))
        yield
    finally:
        subprocess.run(["docker", "rm", "-f", *names], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(["docker", "rmi", "-f", IMAGE], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _describe(bench: Bench, key: Path, ports: dict[str, int]) -> None:
    """The environment, and the keys of its hosts: all containers of one image have the same."""
    for attempt in range(50):
        scan = ["ssh-keyscan", "-t", "ed25519", "-p", str(next(iter(ports.values()))), "127.0.0.1"]
        found = subprocess.run(scan, capture_output=True, text=True).stdout
        words = [line.split(None, 1)[1] for line in found.splitlines() if not line.startswith("#")]
        if words:
            break
        time.sleep(0.1 * (attempt + 1))
    else:
        raise SystemExit("the simulated hosts do not answer")
    known = bench.write("known", "".join(f"[127.0.0.1]:{port} {words[0]}\n" for port in ports.values()))
    hosts = {name: {"ansible_port": port} for name, port in ports.items()}
    common = f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
    variables = {
        "ansible_host": "127.0.0.1",
        "ansible_user": "ops",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": common,
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    bench.write("inventories/fifty/hosts.yml", json.dumps({"servers": {"hosts": hosts, "vars": variables}}))


def measure(bench: Bench, count: int) -> Iterator[Case]:
    """The table's rows, as they are known."""
    bench.audit("one", 1)  # the first loads what the others find in memory
    one, _ = bench.audit("one", 7)
    what = "a lab host with Docker and no release; median of 7"
    yield Case("audit of one lab host", one, "the wanted time", 1.0, "s", 1.0, "at_most", what)
    with simulated(bench, count):
        bench.audit("fifty", 1)
        many, memory = bench.audit("fifty", 3)
        sshd = f"{count} containers with sshd, without Docker; median of 3"
        yield Case(f"audit of {count} simulated hosts", many, "one lab host", one, "s", 6.0, "at_most", sshd)
        used = "the most of the process's resident memory"
        yield Case(f"memory of that audit of {count}", memory, "the wanted size", 200.0, "MB", 1.0, "at_most", used)
        setup = ["ansible", "all", "-i", "inventories/fifty", "-m", "ansible.builtin.setup", "-f", str(count)]
        seconds = bench.ansible(*setup, times=2)
        told = f"all of them at once (-f {count}); facts alone, no Docker, no rules; median of 2"
        yield Case(f"audit beside facts of {count}", many, "ansible -m setup", seconds, "s", 1.0, "at_most", told)
        play = ["ansible-playbook", "-i", "inventories/fifty", "gather.yml"]
        seconds = bench.ansible(*play, "-f", str(count), times=2)
        yield Case(f"audit beside facts of {count}", many, "ansible-playbook", seconds, "s", 1.0, "at_most", told)
        setup[3], setup[-1] = "inventories/one", "1"
        seconds = bench.ansible(*setup, times=3)
        yield Case("audit beside facts of one lab host", one, "ansible -m setup", seconds, "s", 1.0, "at_most")


def main() -> None:
    """Make the hosts, measure, write the table, and remove them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=50, help="how many simulated ones")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the lab would stay
    cases: list[Case] = []
    try:
        labs.up(LAB, (HOST,))
        with tempfile.TemporaryDirectory(prefix="bench-audit-") as folder:
            bench = Bench(Path(folder))
            bench.run("canaryctl", "provision", "one", "--yes")
            say(f"load of this machine now: {os.getloadavg()}")
            for case in measure(bench, options.hosts):
                cases.append(case)
                show(case)
                write("audit", cases)  # what is measured stays, whatever happens next
    finally:
        labs.down(LAB, purge=True)
    say(f"written: {write('audit', cases)}; load of this machine now: {os.getloadavg()}")


if __name__ == "__main__":
    main()

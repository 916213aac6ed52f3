"""Which faults there are, and the shell that makes and undoes each.

A script for a host runs there as root. One for this machine finds in its variables CONTAINER, NETWORK, ADDRESS and HOST
what the host is to Docker, and calls `in_host SCRIPT` and `as_root SCRIPT`, which runs in this machine's own network.
What undoes a fault passes where there is nothing to undo: the host may have been restarted meanwhile.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_INSIDE = Path(__file__).with_name("inside")


@dataclass(frozen=True)
class Fault:
    """A fault: what it is in words, and the scripts that make and undo it, in the `host` or `here`."""

    name: str
    what: str
    begin: str
    end: str
    runs: Literal["host", "here"] = "host"


def _program(name: str, *arguments: str) -> str:
    """The command that runs a program of ours, in the host or here."""
    return shlex.join(["python3", "-c", (_INSIDE / f"{name}.py").read_text("utf-8"), *arguments])


_DEVICE = "dev=$(ip -4 -o route show default | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p' | head -n 1)"

# The other end of the host's cable is in this machine's bridge.
_CABLE = f"""
    end=$(in_host {shlex.quote(_DEVICE + "; cat /sys/class/net/$dev/iflink")}) &&
    as_root "ip link set \\$(ip -o link | sed -n 's/^$end: \\([^:@]*\\).*/\\1/p') %s"
"""

# A slow line is slow both ways: what arrives is led through a device of its own.
_SLOW = f"""
    {_DEVICE}
    line='tbf rate 1mbit burst 32kbit latency 400ms'
    tc qdisc add dev $dev root $line
    ip link add slow0 type ifb && ip link set slow0 up && tc qdisc add dev slow0 root $line
    tc qdisc add dev $dev handle ffff: ingress
    tc filter add dev $dev parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev slow0
"""
_QUICK = f"{_DEVICE}; tc qdisc del dev $dev root; tc qdisc del dev $dev ingress; ip link del slow0; true"

# Rules of ours are in a chain of ours. `-w`: Docker writes rules, too.
_CHAIN = "iptables -w -N CANARYCTL-FAULT"
_NO_CHAIN = """
    command -v iptables >/dev/null || exit 0
    for table in INPUT OUTPUT FORWARD; do
      iptables -w -S $table | sed -n 's/^-A \\(.*-j CANARYCTL-FAULT\\)$/iptables -w -D \\1/p' | sh
    done
    iptables -w -F CANARYCTL-FAULT && iptables -w -X CANARYCTL-FAULT
    true
"""
_DROP = f"""
    {_DEVICE}
    {_CHAIN}
    iptables -w -A CANARYCTL-FAULT -j DROP
    iptables -w -I INPUT -i $dev -j CANARYCTL-FAULT
    iptables -w -I OUTPUT -o $dev -j CANARYCTL-FAULT
    iptables -w -I FORWARD -i $dev -j CANARYCTL-FAULT
    iptables -w -I FORWARD -o $dev -j CANARYCTL-FAULT
"""
_NO_REGISTRY = f"""
    {_CHAIN}
    iptables -w -A CANARYCTL-FAULT -p tcp -j REJECT --reject-with tcp-reset
    for port in 443 5000 5001; do iptables -w -I OUTPUT -p tcp --dport $port -j CANARYCTL-FAULT; done
"""

_BOOT = """
    docker start "$CONTAINER" >/dev/null &&
    for try in $(seq 120); do
      in_host 'systemctl is-active -q ssh.service && ss -ltn | grep -q :22' && return
      sleep 0.5
    done
    return 1
"""

_DOCKERD = "systemctl kill --kill-who=main --signal=%s docker.service"
_DOCKER_UP = "systemctl reset-failed docker.service docker.socket; systemctl start docker.socket docker.service"

# What may be taken beyond what is in use. Docker has no word for `no limit` here; nobody has a tebibyte.
_MEMORY = """
    used=$(in_host '
      v1=/sys/fs/cgroup/memory$(sed -n "s/^[0-9]*:memory://p" /proc/1/cgroup | sed "s,/init.scope$,,")/memory.stat
      sed -n "s/^total_rss //p; s/^anon //p" "$v1" /sys/fs/cgroup/memory.stat 2>/dev/null | head -n 1')
    [ -n "$used" ] &&
    docker update --memory $((used + 67108864)) --memory-swap $((used + 67108864)) "$CONTAINER" >/dev/null
"""
_NO_LIMIT = 'docker update --memory 1t --memory-swap 2t "$CONTAINER" >/dev/null'

_CLOCK = "/usr/lib/python3/dist-packages/canaryctl_skewed_clock"
_SKEW = f"""
    printf %s {shlex.quote((_INSIDE / "skewed_clock.py").read_text("utf-8"))} >{_CLOCK}.py
    echo 'import canaryctl_skewed_clock' >{_CLOCK}.pth
"""

_LOCKED_APT = f"""
    mkdir -p /run/canaryctl-fault && rm -f /run/canaryctl-fault/apt
    systemd-run --quiet --collect --unit canaryctl-fault-apt -- {_program("apt_locks", "/run/canaryctl-fault/apt")}
    for try in $(seq 50); do [ -e /run/canaryctl-fault/apt ] && exit; sleep 0.1; done
"""

# A database is what has the port of one.
_DATABASES = """
    mkdir -p /run/canaryctl-fault
    docker ps -q | xargs -r docker inspect --format '{{.Id}} {{json .Config.ExposedPorts}}' |
      sed -nE 's,^([0-9a-f]+) .*"(5432|3306|27017|6379|1433)/tcp".*,\\1,p' >/run/canaryctl-fault/databases
    [ -s /run/canaryctl-fault/databases ] || { echo 'no database runs in a container there' >&2; exit 1; }
    xargs docker stop --time 1 </run/canaryctl-fault/databases
"""
_DATABASES_BACK = """
    [ -s /run/canaryctl-fault/databases ] || exit 0
    for id in $(cat /run/canaryctl-fault/databases); do docker start $id; done
    rm /run/canaryctl-fault/databases
"""

_READ_ONLY = "mount --bind /opt /opt && mount -o remount,bind,ro /opt"
_WRITABLE = "while mountpoint -q /opt; do umount --lazy /opt; done"
_NO_SSH = "systemctl stop ssh.socket ssh.service || true; pkill sshd || true"

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("link-cut", "the cable is out: no carrier, nobody answers", _CABLE % "down", _CABLE % "up", "here"),
        Fault("link-slow", "1 Mbit/s in each direction, and a short queue", _SLOW, _QUICK),
        Fault("packets-dropped", "a firewall drops every packet, and connections seem to live on", _DROP, _NO_CHAIN),
        Fault("host-killed", "the power goes", 'docker kill "$CONTAINER" >/dev/null', _BOOT, "here"),
        Fault(
            "host-rebooted", "it shuts down in good order", 'docker stop -t 60 "$CONTAINER" >/dev/null', _BOOT, "here"
        ),
        Fault("dockerd-killed", "SIGKILL to Docker, which systemd starts again", _DOCKERD % "KILL", _DOCKER_UP),
        Fault("dockerd-stopped", "Docker is stopped", "systemctl stop docker.socket docker.service", _DOCKER_UP),
        Fault(
            "dockerd-frozen",
            "Docker takes connections and answers nothing",
            _DOCKERD % "STOP",
            f"{_DOCKERD % 'CONT'}; {_DOCKER_UP}",
        ),
        Fault(
            "disk-full",
            "no byte is left under /opt/canaryctl",
            _program("small_disk", "bytes"),
            _program("small_disk", "end"),
        ),
        Fault(
            "inodes-gone",
            "no file can be made under /opt/canaryctl",
            _program("small_disk", "inodes"),
            _program("small_disk", "end"),
        ),
        Fault("memory-pressure", "64 MiB are left for all that begins", _MEMORY, _NO_LIMIT, "here"),
        Fault("clock-skewed", "an hour ahead, for what runs in Python", _SKEW, f"rm -f {_CLOCK}.pth {_CLOCK}.py"),
        Fault("sshd-refusing", "no SSH server, and sessions are ended", _NO_SSH, "systemctl start ssh.service"),
        Fault(
            "apt-locked",
            "somebody else installs packages all the time",
            _LOCKED_APT,
            "systemctl stop canaryctl-fault-apt.service; true",
        ),
        Fault("registry-gone", "no registry answers the host (ports 443, 5000, 5001)", _NO_REGISTRY, _NO_CHAIN),
        Fault("database-down", "the databases that run in containers there are stopped", _DATABASES, _DATABASES_BACK),
        Fault("read-only-opt", "/opt can be read only", _READ_ONLY, _WRITABLE),
    )
}

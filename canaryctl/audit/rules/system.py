"""Rules about the machine itself and its declared mounts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from canaryctl.audit.model import Found, HostConfig, Severity
from canaryctl.audit.rule import Rule
from canaryctl.config.sizes import show_size
from canaryctl.config.versions import version_of
from canaryctl.facts.host import HostFacts
from canaryctl.plan.mounts import mount_faults

# What the Ansible that canaryctl brings needs on hosts.
OLDEST_PYTHON = version_of("3.8")
# Releases that are tested or maintained by their distribution; RHEL's family is used as it is, not provisioned.
SUPPORTED_OS = {"debian": "12", "ubuntu": "22.04", "rhel": "8", "rocky": "8", "almalinux": "8", "centos": "9"}
DISK_SHARE, DISK_BYTES, DISK_FULL = 0.05, 2 * 10**9, 500 * 10**6
INODE_SHARE = 0.05
SKEW, SKEW_ERROR = 2.0, 60.0  # seconds
HALF_MADE = re.compile(r"[0-9a-f]{12}_")  # what compose names a container until it has taken the old one's place

PYTHON_OLD = Rule(
    "python-too-old",
    Severity.ERROR,
    title="The host's Python is too old for Ansible",
    why="Observation still works, but every stage that changes the host runs through Ansible and would fail.",
    fix="Install Python 3.8 or later, and name it in ansible_python_interpreter where it is not the default.",
)
OS_UNSUPPORTED = Rule(
    "os-unsupported",
    Severity.WARNING,
    title="The operating system is not one that canaryctl supports",
    why="Provisioning knows its packages for supported systems only, and nothing else is tested.",
    fix="Use Debian 12 or Ubuntu 22.04 or later (RHEL 8's family where Docker is installed already).",
)
DISK_LOW = Rule(
    "disk-low",
    Severity.WARNING,
    title="A file system is nearly full",
    why="The next push, log or database write may fail, and a full disk takes running services down.",
    fix="Free space: docker system df shows what Docker holds, journalctl --disk-usage what the journal does.",
)
INODES_LOW = Rule(
    "inodes-low",
    Severity.WARNING,
    title="A file system is running out of inodes",
    why="No file can be created without one, however many bytes are free.",
    fix="Remove directories of many small files: find PATH -xdev -type d -size +1M finds them.",
)
CLOCK_SKEW = Rule(
    "clock-skew",
    Severity.WARNING,
    title="The clock differs from this machine's",
    why="Tokens, certificates, TTLs and logs of several hosts disagree when clocks do.",
    fix="Enable time synchronisation on the host: timedatectl set-ntp true.",
)
REBOOT_REQUIRED = Rule(
    "reboot-required",
    Severity.WARNING,
    title="The host waits for a reboot",
    why="Updates that are installed are not in use yet, and the reboot will come at somebody else's time.",
    fix="Reboot it in a maintenance window, then deploy or audit again.",
)
LEFTOVER = Rule(
    "leftover",
    Severity.WARNING,
    title="Something that a killed run left lies on the host",
    why="It takes room, and tells of a run that was cut off: hosts may be half changed.",
    fix="Deploy, which clears the stack's folder: canaryctl deploy ENV; remove by hand what lies elsewhere.",
)
MOUNT_MISSING = Rule(
    "mount-missing",
    Severity.ERROR,
    title="A declared mount is absent",
    why="Docker would put an empty directory in its place, and services would run on nothing.",
    fix="Mount it, and make it permanent in /etc/fstab or a systemd mount unit.",
)
MOUNT_FSTYPE = Rule(
    "mount-fstype",
    Severity.ERROR,
    title="A declared mount is of another file system type",
    why="What is mounted is not what the stack expects, whatever its path says.",
    fix="Mount the right file system, or correct the stack's mounts.",
)
MOUNT_SENTINEL = Rule(
    "mount-sentinel-missing",
    Severity.ERROR,
    title="A declared mount lacks its sentinel file",
    why="Something is mounted, but not the data that the stack was written for.",
    fix="Mount the right file system, or put the sentinel file into it.",
)
MOUNT_ROOM = Rule(
    "mount-room",
    Severity.ERROR,
    title="A declared mount has less room than the stack needs",
    why="Services would fail while writing, in the middle of their work.",
    fix="Free space on it, or lower min_free in the stack file.",
)


@PYTHON_OLD.host
def python_old(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """The interpreter that Ansible would use as well."""
    if facts.python and version_of(facts.python) < OLDEST_PYTHON:
        yield Found(f"Python is {facts.python}, Ansible needs {OLDEST_PYTHON} or later", subject="python")


@OS_UNSUPPORTED.host
def os_unsupported(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Distribution and release."""
    oldest = SUPPORTED_OS.get(facts.os.id)
    name = facts.os.pretty or facts.os.id
    # Debian's unreleased versions have no number; they are newer than any that is too old.
    if facts.os.id and (
        oldest is None or (facts.os.version_id and version_of(facts.os.version_id) < version_of(oldest))
    ):
        yield Found(f"{name} is not supported", subject="os")


@DISK_LOW.host
def disk_low(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Each file system once, though several paths lie in it."""
    seen: set[tuple[int, int]] = set()
    for path, disk in facts.disks.items():
        if not disk.total or (disk.total, disk.free) in seen:
            continue
        seen.add((disk.total, disk.free))
        if disk.free < DISK_BYTES or disk.free < DISK_SHARE * disk.total:
            full = disk.free < DISK_FULL
            what = f"{show_size(disk.free)} of {show_size(disk.total)} are free at {path}"
            yield Found(what, subject=path, severity=Severity.ERROR if full else None)


@INODES_LOW.host
def inodes_low(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """File systems that count none (btrfs) say 0 of 0."""
    seen: set[tuple[int, int]] = set()
    for path, disk in facts.disks.items():
        if disk.inodes and (disk.inodes, disk.inodes_free) not in seen:
            seen.add((disk.inodes, disk.inodes_free))
            if disk.inodes_free < INODE_SHARE * disk.inodes:
                severity = None if disk.inodes_free else Severity.ERROR
                what = f"{disk.inodes_free} of {disk.inodes} inodes are free at {path}"
                yield Found(what, subject=path, severity=severity)


@CLOCK_SKEW.host
def clock_skew(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Beyond what the round trip itself explains."""
    skew = facts.clock_skew
    if abs(skew) > SKEW:
        direction = "ahead of" if skew > 0 else "behind"
        severity = Severity.ERROR if abs(skew) > SKEW_ERROR else None
        yield Found(f"its clock is {abs(skew):.1f} s {direction} this machine's", subject="clock", severity=severity)


@REBOOT_REQUIRED.host
def reboot_required(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """As the distribution's packages say."""
    if facts.audit.reboot is not None:
        for_what = f" for {', '.join(facts.audit.reboot[:5])}" if facts.audit.reboot else ""
        yield Found(f"a reboot is required{for_what}", subject="reboot")


@LEFTOVER.host
def leftover(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Files half written, and folders of programs that have ended; containers of ours that should be gone by now."""
    lock = facts.state.lock
    busy = lock is not None and not lock.expired and not lock.held
    for left in facts.audit.leftovers:
        running = left.path.startswith("process ")
        if not (running and busy):
            what = f"{left.path} was {'begun' if running else 'left'} {left.age / 3600:.1f} h ago"
            yield Found(f"{what} by a run that has ended", subject=left.path)
    for container in facts.containers if not busy else ():
        ours = container.project == host.project and (
            container.name == f"{host.project}-migrate" or HALF_MADE.match(container.name)
        )
        if ours or container.name.startswith(("canaryctl-contract-", "canaryctl-unpacked-")):
            what = f"the container {container.name} ({container.state}) was left by a run that was cut off"
            yield Found(what, subject=container.name, fix=f"Remove it: docker rm -f {container.name}")


def _mounts(kind: str, facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    for fault in mount_faults(host.mounts, facts.mounts):
        if fault.kind == kind:
            yield Found(fault.what, subject=fault.path, fix=fault.hint)


@MOUNT_MISSING.host
def mount_missing(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Nothing mounted there, or a server that does not answer."""
    return _mounts("absent", facts, host)


@MOUNT_FSTYPE.host
def mount_fstype(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Something else mounted there."""
    return _mounts("fstype", facts, host)


@MOUNT_SENTINEL.host
def mount_sentinel(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """The right kind of file system without the data."""
    return _mounts("sentinel", facts, host)


@MOUNT_ROOM.host
def mount_room(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Too little room on it."""
    return _mounts("room", facts, host)

"""What is left after a command: evidence, locks, and things that nobody will clear away."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from canaryctl.lab.hosts import answers
from faults.cells import CONFIRM
from faults.lane import ENVIRONMENT, PROJECT, STACK_NAME, Lane

# One thing a line: what it is, then which.
_ON_HOST = f"""
docker ps -a --filter label=com.docker.compose.project={PROJECT} --format 'container {{{{.Names}}}} {{{{.State}}}}' |
  grep -v ' running$'
docker ps -a --format 'container {{{{.Names}}}}' | grep -E '^container [0-9a-f]{{12}}_'
docker images -q -f dangling=true | sed 's/^/untagged image /'
find /opt/canaryctl -path '*/.incoming/*' -type f -printf 'file %p\\n'
find /opt/canaryctl \\( -name '*.new' -o -name '*.new-*' -o -name '*.tmp' -o -name '*.back' \\) -printf 'file %p\\n'
find /tmp /dev/shm /var/tmp -maxdepth 1 \\( -iname '*canaryctl*' -o -name 'ansible*' \\) -printf 'file %p\\n'
find /home/*/.ansible/tmp /root/.ansible/tmp -mindepth 1 -maxdepth 1 -printf 'file %p\\n'
pgrep -af '[A]nsiballZ|[c]ompose .*{PROJECT}|[d]ocker load' | sed 's/^[0-9]*/process/' | cut -c1-160
systemctl list-units --failed --plain --no-legend 'canaryctl*' | sed 's/^/failed unit /' | cut -c1-120
"""


def leftovers(lane: Lane) -> list[str]:
    """What is there, on the host and here, that was not there at first."""
    found = {line.strip() for line in lane.in_host(_ON_HOST).splitlines()}
    return sorted({*found, *_here(lane)} - lane.birth)


def _here(lane: Lane) -> list[str]:
    found = [f"here: file {path}" for path in (lane.folder / "tmp").iterdir()]
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            folder = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(lane.folder) in words or folder.startswith(str(lane.folder)):
            found.append(f"here: process {words[:120]}")
    return found


def lock_problem(lane: Lane) -> str:
    """Why the environment's locks would be in somebody's way; '' if they are free, or expire within a minute."""
    done = lane.run("lock", "status", ENVIRONMENT, "--output", "json", timeout=60)
    if done.code:
        return f"lock status exits {done.code}: {done.err.strip()[-200:]}"
    locks: dict[str, dict[str, Any]] = done.document.get("locks") or {}
    held = [
        f"{host} {of}: held by {lock['command']} for {lock['ttl']} s"
        for host, both in locks.items()
        for of, lock in both.items()
        if lock and not lock["expired"] and (lock["held"] or lock["ttl"] > 60)
    ]
    return "; ".join(held)


def evidence_problem(lane: Lane, run: str) -> str:
    """Why a run's evidence does not verify, or ''. The newest run's, where it did not say which it was."""
    folders = sorted((lane.folder / "runs" / ENVIRONMENT).glob("2*"))
    name = run or (folders[-1].name if folders else "")
    if not name:
        return "there is none"
    done = lane.run("runs", "verify", name, timeout=60)
    return "" if done.code == 0 else " ".join(done.text.split())[-300:]


def wait_for_login(lane: Lane) -> None:
    """A link that is back takes a moment until its neighbours know each other again. Half a minute at most."""
    end = time.monotonic() + 30
    while not answers(lane.lab, lane.host) and time.monotonic() < end:
        time.sleep(0.5)


def serves_by_itself(lane: Lane, pages: tuple[str, str]) -> bool:
    """Whether one of the pages is there after as long as a host may take to go back by itself."""
    return lane.poller.wait_for([page for page in pages if page], CONFIRM + 60)


def root_of(lane: Lane) -> str:
    """The stack's folder on the host, as text that tells what is in it."""
    return lane.in_host(
        f"cd /opt/canaryctl/{STACK_NAME} && ls -lA . releases; tail -n 5 history.jsonl; cat change.json"
    )

"""Make a fault and see that it is undone: by a process apart from ours, so that it is when we are gone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass, field

from canaryctl.errors import ConfigError, HostError
from canaryctl.lab.faults.table import FAULTS, Fault
from canaryctl.lab.state import Lab

# `sh -c KEEPER NAME SECONDS`. It says how far it is on standard output, where nobody need listen.
_KEEPER = """
trap '' HUP INT PIPE
in_host() {{ docker exec "$CONTAINER" sh -uc "$1"; }}
as_root() {{
  if [ "$(id -u)" = 0 ] && command -v ip >/dev/null; then sh -uc "$1"; else
    docker run --rm --network host --cap-add NET_ADMIN --entrypoint sh \
      "$(docker inspect --format '{{{{.Image}}}}' "$CONTAINER")" -uc "$1"
  fi
}}
is_gone() {{ docker info >/dev/null && ! docker container inspect "$CONTAINER" >/dev/null; }}
begin() {{ {begin}
}}
end() {{ {end}
}}
over() {{
  trap '' TERM
  [ -z "$pause" ] || kill "$pause"
  tries=0
  until end; do
    if is_gone; then echo gone; exit; fi
    tries=$((tries + 1))
    if [ "$tries" = 60 ]; then echo failed; exit 1; fi
    sleep 1
  done
  echo ended
  exit
}}
pause=
trap over TERM
begin || {{ end; echo refused; exit 1; }}
echo begun
sleep "$1" >/dev/null 2>&1 & pause=$!  # it holds neither our pipe nor our lock, should it be left
wait "$pause"
pause=
over
"""


@dataclass
class Running:
    """A fault that is there. `began` is by the monotonic clock, the moment at which it was there."""

    fault: Fault
    host: str
    seconds: float
    log: str
    process: subprocess.Popen[str]
    began: float = field(default_factory=time.monotonic)

    def wait(self) -> None:
        """Until it is undone.

        Raises:
            HostError: it could not be.
        """
        said = self.process.stdout.read().split() if self.process.stdout else []
        self.process.wait()
        if not {"ended", "gone"} & set(said):
            hint = f"see {self.log}; `canaryctl lab up` starts hosts that are stopped, `lab down` forgets them"
            raise HostError(f"the fault {self.fault.name} is not undone", self.host, hint)

    def end(self) -> None:
        """Undo it at once.

        Raises:
            HostError: it could not be.
        """
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        self.wait()


def begin(lab: Lab, name: str, host: str, seconds: float) -> Running:
    """Make a fault on a lab host; it is undone after `seconds`, whatever becomes of this process.

    Raises:
        ConfigError: there is no such fault or host, or it, or one that is undone alike, is there already.
        HostError: the host is not one that can have it.
    """
    if name not in FAULTS:
        raise ConfigError(f"there is no fault {name!r}", hint=f"canaryctl lab fault lists them: {', '.join(FAULTS)}")
    if host not in lab.hosts:
        raise ConfigError(
            f"the lab {lab.name!r} has no host {host!r} (it has: {', '.join(lab.hosts) or 'none'})",
            hint=f"canaryctl lab up --name {lab.name} --hosts {host}",
        )
    fault, where = FAULTS[name], lab.hosts[host]
    folder = lab.directory / "faults"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    alike = [known for known, one in FAULTS.items() if one.end == fault.end]  # what undoes one undoes the others
    log = folder / f"{host}.{alike[0]}.log"
    with log.open("a") as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the keeper inherits it, and what it starts
        except BlockingIOError:
            which = " or ".join(alike)
            raise ConfigError(f"the fault {which} is there already", host, "wait until it is undone") from None
        out.truncate()
        network = {"NETWORK": lab.network, "ADDRESS": where.address, "HOST": host}
        process = subprocess.Popen(
            ["sh", "-c", keeper(fault), f"canaryctl-lab-fault-{name}", str(seconds)],
            env={**os.environ, "CONTAINER": where.container, **network},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=out,
            text=True,
            start_new_session=True,
        )
    running = Running(fault, host, seconds, str(log), process)
    try:
        said = process.stdout.readline().strip() if process.stdout else ""
    except BaseException:
        running.end()
        raise
    if said != "begun":
        process.wait()
        words = " ".join(log.read_text(errors="replace").split())[-500:]
        raise HostError(
            f"the host cannot have the fault {name}: {words or said or 'it says nothing'}", host, f"see {log}"
        )
    running.began = time.monotonic()
    return running


def keeper(fault: Fault) -> str:
    """The shell program that makes a fault, waits and undoes it."""

    def told(script: str) -> str:
        called = f"in_host {shlex.quote(script)}" if fault.runs == "host" else f"{{ {script}\n}}"
        return f"{called} >&2"

    strict = "set -e\n" if fault.runs == "host" else ""
    return _KEEPER.format(begin=told(strict + fault.begin), end=told(fault.end))

"""Send a program of the agent package to a host's Python and read its one JSON answer."""

from __future__ import annotations

import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

from canaryctl import agent
from canaryctl.config.environment import Host
from canaryctl.errors import HostError
from canaryctl.facts.answers import read_answer
from canaryctl.hosts.connection import Connection

# The modules of each program, in the order that they need each other.
_STATE = ("envfile", "held", "change", "regular", "installed", "state")
PROGRAMS = {
    "facts": ("processes", "docker", "system", "mounts", "gpuxml", "gpu", *_STATE, "facts"),
    "collect": ("processes", "docker", "regular", "collect"),
    "receive": ("processes", "docker", "held", "loads", "content", "pulse", "staging", "load", "loading", "receive"),
    "pull": ("processes", "docker", "held", "loads", "pulse", "loading", "pull"),
    "prune": ("processes", "docker", "held", "regular", "installed", "passed", "loads", "loading", "prune"),
    "gpu": ("processes", "docker", "system", "gpuxml", "gpu", "gpuwatch"),
    "reload": ("processes", "reload"),
    "mounts": ("processes", "docker", "system", "mounts"),
    "append": ("held", "change", "atomic", "turn", "settle", "lines", "append"),
    "lock": ("held", "leftovers", "atomic", "turn", "lock"),
    "secrets": ("envfile", "regular", "secrets"),
    "history": (*_STATE, "history"),
}
PROGRAMS["audit"] = (*PROGRAMS["facts"], "leftovers", "loads", "audit")

_AGENT = Path(agent.__file__).parent
LARGEST_ANSWER = 16 << 20  # bytes

# Python reads a program on standard input to its end; this reads as much as is announced and leaves the rest.
_READ_PROGRAM = "import sys; i = sys.stdin.buffer; exec(i.read(int(i.readline())))"


def ask(
    connection: Connection,
    program: str,
    config: dict[str, Any],
    *,
    timeout: float = 60,
    limit: int = LARGEST_ANSWER,
) -> dict[str, Any]:
    """Run `program` of PROGRAMS on a host with `config`; its answer, of which nothing is believed yet.

    Raises:
        HostError: there is no answer to read, or it is larger than `limit` bytes.
    """
    host = connection.inventory
    command, stdin = call(connection, program, config)
    done = connection.run(command, stdin=stdin, timeout=timeout, limit=limit)
    if done.code == 127:
        raise HostError(
            f"there is no {interpreter(host)} on it",
            host.name,
            "Install Python 3.7 or later, or set ansible_python_interpreter.",
            reason="python",
        )
    try:
        answer = read_answer(_last_line(done.stdout))
    except ValueError as error:
        why = done.complaint if done.code or not done.stdout.strip() else f"its answer cannot be read: {error}"
        raise HostError(
            f"the agent failed there (exit {done.code}): {why or 'no output'}",
            host.name,
            f"Try `{interpreter(host)} --version` on it: Python 3.7 or later is needed.",
            reason="python" if "SyntaxError" in done.complaint else "agent",
        ) from None
    if not isinstance(answer, dict) or answer.get("agent") != 1:
        hint = "Look for a shell profile that replaces commands."
        raise HostError("the agent's answer is not ours", host.name, hint, reason="agent")
    return answer


def _last_line(output: bytes) -> bytes:
    """The last line that holds anything: a login shell may print a greeting before, and a few empty ones after."""
    tail = output[-1024:]
    end = len(output) - len(tail) + len(tail.rstrip())
    return output[output.rfind(b"\n", 0, end) + 1 : end]


def call(connection: Connection, program: str, config: dict[str, Any], *, talk: bool = False) -> tuple[str, bytes]:
    """The command that runs a program on a host with `config` and the host's root, and how its standard input begins.

    With `talk` the program gets the rest of standard input for itself.
    """
    host, password = connection.inventory, connection.sudo_password
    order = json.dumps({"root": host.root, **config})
    source = (bundle(program) + f"\nanswer_{program}(json.loads({order!r}))\n").encode()
    words = [interpreter(host), host.root, become_mode(host), "password" if password else ""]
    script = wrapper()
    if talk:
        script = script.replace(" -IS - ", f" -IS -c {shlex.quote(_READ_PROGRAM)} ")
        source = b"%d\n" % len(source) + source
    if password:
        source = f"{password}\n".encode() + source
    return shlex.join(["sh", "-c", script, "sh", *words]), source


def become_mode(host: Host) -> str:
    """always, never, or auto (where the inventory does not say): see the agent's wrapper."""
    value = host.vars.get("ansible_become")
    if value in (None, ""):
        return "auto"
    return "always" if str(value).lower() in ("true", "yes", "1", "on", "y", "t") else "never"


def interpreter(host: Host) -> str:
    value = str(host.vars.get("ansible_python_interpreter") or "")
    return "python3" if not value or value.startswith("auto") else value


@cache
def wrapper() -> str:
    """The shell script that decides on sudo, on one line: not every login shell takes a newline between quotes."""
    lines = (_AGENT / "become.sh").read_text(encoding="utf-8").splitlines()
    return " ".join(line.strip() for line in lines if not line.startswith("#"))


@cache
def bundle(program: str) -> str:
    """The source of a program: its modules joined, without their imports of each other."""
    parts = ["from __future__ import annotations"]
    for module in PROGRAMS[program]:
        text = next(_AGENT.glob(f"*/{module}.py")).read_text(encoding="utf-8")
        text = re.sub(r"^from __future__ import annotations\n", "", text, flags=re.M)
        parts.append(re.sub(r"^from (?:canaryctl)?\.[\w.]+ import (\([^)]*\)|[^\n]*)\n", "", text, flags=re.M))
    return "\n".join(parts)

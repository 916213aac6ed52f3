"""Send a program of the agent package to a host's Python and read its one JSON answer."""

from __future__ import annotations

import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

from canaryctl.config.environment import Host
from canaryctl.errors import HostError
from canaryctl.observe.connection import Connection
from canaryctl.observe.sudo import password_of

# The modules of each program, in the order that they need each other.
PROGRAMS = {
    "facts": ("docker", "system", "mounts", "gpuxml", "gpu", "held", "state", "facts"),
    "collect": ("docker", "collect"),
    "receive": ("docker", "held", "content", "staging", "load", "receive"),
    "pull": ("docker", "held", "pull"),
    "prune": ("docker", "held", "prune"),
    "gpu": ("docker", "system", "gpuxml", "gpu", "gpuwatch"),
    "mounts": ("docker", "system", "mounts"),
    "lock": ("held", "lock"),
    "secrets": ("held", "state", "secrets"),
    "past": ("held", "state", "past"),
}
PROGRAMS["audit"] = (*PROGRAMS["facts"], "audit")

# Python reads a program on standard input to its end; this reads as much as is announced and leaves the rest.
_READ_PROGRAM = "import sys; i = sys.stdin.buffer; exec(i.read(int(i.readline())))"


def ask(
    connection: Connection,
    host: Host,
    program: str,
    config: dict[str, Any],
    *,
    become_password: str | None = None,
    timeout: float = 60,
) -> dict[str, Any]:
    """Run `program` of PROGRAMS on the host with `config`. Raises HostError when there is no answer to read."""
    command, stdin = call(host, program, config, become_password=become_password)
    done = connection.run(command, stdin=stdin, timeout=timeout)
    if done.code == 127:
        raise HostError(
            f"there is no {interpreter(host)} on it",
            host.name,
            "Install Python 3.7 or later, or set ansible_python_interpreter.",
            reason="python",
        )
    try:
        # A login shell may print a greeting before.
        answer = json.loads(done.stdout.rstrip().rpartition(b"\n")[2])
    except ValueError:
        raise HostError(
            f"the agent failed there (exit {done.code}): {done.complaint or 'no output'}",
            host.name,
            f"Try `{interpreter(host)} --version` on it: Python 3.7 or later is needed.",
            reason="python" if "SyntaxError" in done.complaint else "agent",
        ) from None
    if not isinstance(answer, dict) or answer.get("agent") != 1:
        raise HostError("the agent's answer is not ours", host.name, "Look for a shell profile that replaces commands.")
    return answer


def call(
    host: Host, program: str, config: dict[str, Any], *, become_password: str | None = None, talk: bool = False
) -> tuple[str, bytes]:
    """The command that runs a program on a host, and what its standard input begins with.

    With `talk` the program gets the rest of standard input for itself.
    """
    password = password_of(host, become_password)
    source = (bundle(program) + f"\nanswer_{program}(json.loads({json.dumps(config)!r}))\n").encode()
    words = [interpreter(host), str(config["root"]), become_mode(host), "password" if password else ""]
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
    lines = (Path(__file__).parent / "agent" / "become.sh").read_text(encoding="utf-8").splitlines()
    return " ".join(line.strip() for line in lines if not line.startswith("#"))


@cache
def bundle(program: str) -> str:
    """The source of a program: its modules joined, without their imports of each other."""
    directory = Path(__file__).parent / "agent"
    parts = ["from __future__ import annotations"]
    for module in PROGRAMS[program]:
        text = (directory / f"{module}.py").read_text(encoding="utf-8")
        text = re.sub(r"^from __future__ import annotations\n", "", text, flags=re.M)
        parts.append(re.sub(r"^from canaryctl\.[\w.]+ import (\([^)]*\)|[^\n]*)\n", "", text, flags=re.M))
    return "\n".join(parts)

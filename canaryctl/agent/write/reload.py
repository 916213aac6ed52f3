"""Have systemd reload its units, which on some hosts takes devices from running containers."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from canaryctl.agent.read.processes import Program, find_program


def answer_reload(config: dict[str, Any]) -> None:
    """`error`: why it did not work, else ''."""
    sys.stdout.write("\n" + json.dumps({"agent": 1, "error": reload_units()}) + "\n")


def reload_units() -> str:
    """What `systemctl daemon-reload` said; '' where it went well. Needs root."""
    systemctl = find_program("systemctl")
    if not systemctl:
        return "there is no systemctl on the host"
    argv = [systemctl, "daemon-reload"] if os.geteuid() == 0 else ["sudo", "-n", systemctl, "daemon-reload"]
    try:
        code, output = Program(*argv).finish(30)
    except OSError as error:
        return str(error)
    time.sleep(1)  # systemd puts the control groups in order after it has answered
    return "" if code == 0 else output[-300:] or "systemctl daemon-reload failed"

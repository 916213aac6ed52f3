"""Append a line to a stack's history, and confirm the change that it is about: both, or none where that is too late."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from canaryctl.agent.read.change import CHANGE_FILE, GOING_BACK
from canaryctl.agent.read.held import LockLost, require_locks
from canaryctl.agent.write.lines import append_line
from canaryctl.agent.write.settle import confirm, give_up


def answer_append(config: dict[str, Any]) -> None:
    """Write `line`, an object, while the run holds its `locks`; `lost` has who holds them now where it does not.

    With `confirm`, what that run has changed here stays; `phase` says where the host has gone back by itself, and then
    no line is written. With `give_up` it is taken back at once, unless `phase` says that it is settled.
    """
    answer: dict[str, Any] = {"agent": 1, "error": "", "phase": ""}
    folder = os.path.join(config["root"], config["stack"])
    try:
        require_locks(config["locks"])
        if config.get("confirm"):
            answer["phase"] = confirm(os.path.join(folder, CHANGE_FILE), config["confirm"])
        if config.get("give_up"):
            answer["phase"] = give_up(os.path.join(folder, CHANGE_FILE), config["give_up"])
        if config["line"] and not (config.get("confirm") and answer["phase"] in GOING_BACK):
            append_line(os.path.join(folder, "history.jsonl"), config["line"])
    except LockLost as lost:
        answer["lost"] = [lost.holder]
    except OSError as error:
        answer["error"] = str(error)
    sys.stdout.write("\n" + json.dumps(answer) + "\n")

"""The newest lines of a stack's history, and nothing else: an answer in one short round trip."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from canaryctl.agent.read.state import last_lines


def answer_history(config: dict[str, Any]) -> None:
    """`lines` of history.jsonl at most, oldest first; none where the stack was never here."""
    answer: dict[str, Any] = {"agent": 1, "lines": [], "error": ""}
    try:
        answer["lines"] = last_lines(os.path.join(config["root"], config["stack"], "history.jsonl"), config["lines"])
    except FileNotFoundError:
        pass
    except OSError as error:
        answer["error"] = str(error)
    sys.stdout.write("\n" + json.dumps(answer) + "\n")

"""What came of imports inside an image, told in words. Pure."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from canaryctl.config.durations import show_duration
from canaryctl.config.sizes import show_size
from canaryctl.contract.inside.imports import MARK
from canaryctl.contract.results import Row

Answer = Mapping[str, Any]
_MOUNT = "its source is not in the image, which seems to expect it as a volume mount"


def program() -> str:
    """The source of what runs inside."""
    return (Path(__file__).parent / "inside" / "imports.py").read_text(encoding="utf-8")


def parse_answer(output: str) -> dict[str, Any] | None:
    """The answer in what the program printed; None where there is none."""
    for line in reversed(output.splitlines()):
        if line.startswith(MARK):
            found: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return found
    return None


def judge_present(image: str, name: str, document: Answer, *, timeout: float, memory: int, where: str) -> Row:
    """A module that must import. `timeout` in seconds and `memory` in bytes are its bounds."""
    answer = document["modules"][name]
    fault, seconds = answer["fault"], float(answer.get("seconds") or 0)
    check = f"module {name} present"
    if not fault:
        version = answer.get("version")
        found = f"imports, version {version}" if version else "imports"
        return Row(image, check, "passed", found, where=where, seconds=seconds)
    found = str(answer.get("text") or fault)
    reason = _why_not(name, answer, document, timeout=timeout, memory=memory)
    return Row(image, check, "failed", found, reason, where, seconds, late=fault == "late")


def judge_absent(image: str, name: str, document: Answer, *, where: str) -> Row:
    """A module that must not be there: nothing but ModuleNotFoundError for it, or a package around it, will do."""
    answer = document["modules"][name]
    check, seconds = f"module {name} absent", float(answer.get("seconds") or 0)
    missing = answer["fault"] == "missing" and (name == answer["name"] or name.startswith(f"{answer['name']}."))
    if missing or answer["fault"] == "hollow":
        return Row(image, check, "passed", "not in the image", where=where, seconds=seconds)
    if answer["fault"]:
        reason = f"{name} is in the image, though it does not import: {answer.get('text') or answer['fault']}"
        return Row(image, check, "failed", "in the image, broken", reason, where, seconds)
    version = f" ({answer['version']})" if answer.get("version") else ""
    return Row(
        image, check, "failed", f"imports{version}", f"{name}{version} is in the image and imports", where, seconds
    )


def _why_not(name: str, answer: Answer, document: Answer, *, timeout: float, memory: int) -> str:
    fault, text = answer["fault"], str(answer.get("text") or "")
    if fault == "late":
        return f"importing {name} did not end within {show_duration(timeout)}"
    if fault == "died":
        return _how_it_died(name, answer, memory)
    if fault == "hollow":
        return f"{name} is found, but the folder {answer['hollow']} holds no source: {_MOUNT}"
    if fault == "broken":
        return f"{name} is in the image, but breaks when it is imported: {text}"
    missing = str(answer["name"])
    if not (name == missing or name.startswith(f"{missing}.")):
        return f"{name} is in the image, but needs {missing}, which is not: {text}"
    if answer.get("hollow"):
        return f"the package around {name} is found, but the folder {answer['hollow']} holds no source: {_MOUNT}"
    said = f"{name} is not in the image: {text}"
    if document.get("dangling"):
        return f"{said}; it is installed from {', '.join(document['dangling'])}, where nothing is: {_MOUNT}"
    if document.get("bare"):
        return f"{said}; the working directory {document['bare']} is empty: {_MOUNT}"
    return said


def _how_it_died(name: str, answer: Answer, memory: int) -> str:
    number = int(answer.get("signal") or 0)
    if number == signal.SIGKILL:
        return f"importing {name} was killed: most likely it needs more memory than the {show_size(memory)} it may use"
    if number:
        try:
            called = signal.Signals(number).name
        except ValueError:
            called = f"signal {number}"
        return f"importing {name} kills Python ({called})"
    return f"importing {name} ends Python (exit code {answer.get('code')})"

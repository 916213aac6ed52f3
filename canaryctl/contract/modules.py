"""What came of imports inside an image, told in words. Pure."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from canaryctl.config.durations import show_duration
from canaryctl.config.sizes import show_size
from canaryctl.contract.inside.imports import MARK
from canaryctl.contract.results import Row
from canaryctl.facts.jsontext import parse_json

FAULTS = ("", "missing", "broken", "hollow", "late", "died")
Answer = Mapping[str, Any]
_MOUNT = "its source is not in the image, which seems to expect it as a volume mount"


def program() -> str:
    """The source of what runs inside."""
    return (Path(__file__).parent / "inside" / "imports.py").read_text(encoding="utf-8")


def parse_answer(output: str) -> dict[str, Any] | None:
    """The answer in what the program printed; None where there is none, or it is no JSON object."""
    for line in reversed(output.splitlines()):
        if line.startswith(MARK):
            try:
                found = parse_json(line.removeprefix(MARK))
            except ValueError:
                return None
            return found if isinstance(found, dict) else None
    return None


def misfit(document: Answer, modules: Iterable[str]) -> str:
    """What of an answer is not as the program gives it, for an image's own Python prints it; empty where all is."""
    if not _is_whole(document.get("uid")):
        return "it names no user"
    answers = document.get("modules")
    if not isinstance(answers, dict):
        return "it says nothing of modules"
    if not isinstance(document.get("bare", ""), str) or not _are_texts(document.get("dangling", [])):
        return "its folders are none"
    for name in modules:
        answer = answers.get(name)
        if not isinstance(answer, dict) or answer.get("fault") not in FAULTS:
            return f"it does not say what came of {name}"
        texts = (answer.get(key) or "" for key in ("text", "version", "hollow", "name"))
        numbers = (answer.get(key) or 0 for key in ("signal", "code", "seconds"))
        named = {"missing": "name", "hollow": "hollow"}.get(answer["fault"])
        if not _are_texts(list(texts)) or (named and not answer.get(named)):
            return f"what it says of {name} is no text"
        if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
            return f"what it counts of {name} is no number"
    return ""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def check_present(image: str, name: str, document: Answer, *, timeout: float, memory: int, where: str) -> Row:
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


def check_absent(image: str, name: str, document: Answer, *, where: str) -> Row:
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
    reason = f"{name} is not in the image: {text}"
    if document.get("dangling"):
        return f"{reason}; it is installed from {', '.join(document['dangling'])}, where nothing is: {_MOUNT}"
    if document.get("bare"):
        return f"{reason}; the working directory {document['bare']} is empty: {_MOUNT}"
    return reason


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

"""What becomes of Docker's daemon.json: options merged, and taken back. Pure.

A change is remembered as [path, before, after] of one value; `before` is absent where there was none. Undoing puts back
what was there, and leaves alone what somebody has changed since.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import PurePath
from typing import Any

HIDDEN = "[hidden]"
TELLING = "pass|token|secret|key|credential|auth(?!orization-plugins)"  # in the name of what is secret
ABSENT = {"absent": True}  # in a record, for JSON has no such value


def parse(text: str) -> dict[str, Any]:
    """The options in daemon.json's text. Raises ValueError that says what is wrong, and where."""
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        comments = any(line.lstrip().startswith(("//", "#", "/*")) for line in text.splitlines())
        raise ValueError(f"it is not valid JSON: {error}{'; JSON has no comments' if comments else ''}") from None
    if not isinstance(found, dict):
        raise ValueError("it holds no JSON object")
    return found


def merge(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """`current` with the options of `wanted`: mappings are merged, everything else is replaced."""
    merged = copy.deepcopy(current)
    for key, value in wanted.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


def changes(before: dict[str, Any], after: dict[str, Any], path: tuple[str, ...] = ()) -> list[list[Any]]:
    """What leads from one to the other, value by value."""
    found: list[list[Any]] = []
    for key in sorted({*before, *after}):
        old, new = before.get(key, ABSENT), after.get(key, ABSENT)
        if old == new:
            continue
        if isinstance(new, dict) and new and new is not ABSENT and (old is ABSENT or isinstance(old, dict)):
            found += changes({} if old is ABSENT else old, new, (*path, key))
        else:
            found.append([[*path, key], old, new])
    return found


def undo(current: dict[str, Any], record: list[list[Any]]) -> dict[str, Any]:
    """`current` without the recorded changes, except where the value is no longer the one that was set."""
    result = copy.deepcopy(current)
    for path, before, after in record:
        parents = [result]
        for key in path[:-1]:
            inner = parents[-1].get(key)
            if not isinstance(inner, dict):
                break
            parents.append(inner)
        if len(parents) < len(path) or parents[-1].get(path[-1], ABSENT) != after:
            continue
        if before == ABSENT:
            del parents[-1][path[-1]]
            for depth in range(len(path) - 2, -1, -1):
                if parents[depth][path[depth]] == {}:
                    del parents[depth][path[depth]]
        else:
            parents[-1][path[-1]] = before
    return result


def settle(current: dict[str, Any], edited: dict[str, Any]) -> dict[str, Any]:
    """`edited`, but as `current` has it where the two mean the same: a runtime's path with or without its directory,
    no arguments or none mentioned. A restart for such a difference would interrupt everybody for nothing."""
    result = copy.deepcopy(edited)
    for name, runtime in (result.get("runtimes") or {}).items():
        old = (current.get("runtimes") or {}).get(name)
        if not isinstance(old, dict) or not isinstance(runtime, dict):
            continue
        same = PurePath(str(old.get("path"))).name == PurePath(str(runtime.get("path"))).name
        arguments = old.get("args") or old.get("runtimeArgs") or []
        if same and arguments == (runtime.get("args") or runtime.get("runtimeArgs") or []):
            result["runtimes"][name] = copy.deepcopy(old)
    return result


def hidden(value: Any, name: str = "") -> Any:
    """The options as may be shown: without passwords, tokens and keys, by their names or as a part of a URL."""
    if re.search(TELLING, name, re.IGNORECASE) and value not in (None, "", [], {}):
        return HIDDEN
    if isinstance(value, dict):
        return {key: hidden(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [hidden(item) for item in value]
    if isinstance(value, str):
        value = re.sub(rf"((?:{TELLING})[^=\s]*=)\S.*", rf"\1{HIDDEN}", value, flags=re.IGNORECASE | re.DOTALL)
        return re.sub(r"(://|=|^(?!\w+://))[^\s=]*@", rf"\1{HIDDEN}@", value)
    return value


def flags(argv: list[str]) -> tuple[list[str], str]:
    """dockerd's flags from its command line, without --config-file, and the file that this names, if any."""
    kept: list[str] = []
    file = ""
    words = iter(argv)
    for word in words:
        if word == "--config-file":
            file = next(words, "")
        elif word.startswith("--config-file="):
            file = word.partition("=")[2]
        else:
            kept.append(word)
    return kept, file

"""run.json read back as what it is: a file that may have been copied from anywhere, cut, or written by hand."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from canaryctl.errors import CanaryError, ConfigError

_LARGEST = 1e300  # beyond it a number cannot be calculated with
_NONE_OF: dict[str, Any] = {
    "null": None,
    "string": "",
    "array": [],
    "object": {},
    "boolean": False,
    "integer": 0,
    "number": 0,
}
_KINDS: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST,
    "number": lambda value: (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < _LARGEST
        and not math.isnan(value)
    ),
}


def readable(document: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The keys of run.json that have the form they should, and what is wrong with the first that has not ('' if none).

    What an older canaryctl did not write yet is added inside the keys, empty.
    """
    kept: dict[str, Any] = {}
    fault = ""
    for key, value in document.items():
        form = _schema()["properties"].get(key)
        try:
            kept[key] = _conform(value, form, key) if form else value
        except ValueError as error:
            fault = fault or str(error)
    return kept, fault


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Whatever a stored document holds that cannot be shown after all is its fault, and is said as such.

    Raises:
        ConfigError: the record in `path` is damaged.
    """
    try:
        yield
    except (CanaryError, OSError):
        raise
    except Exception as fault:
        raise ConfigError(
            f"the run's record is damaged: {type(fault).__name__}: {str(fault)[:300]}",
            str(path / "run.json"),
            "`canaryctl runs verify` says which files were changed since it was written",
        ) from None


@functools.cache
def _schema() -> dict[str, Any]:
    text = (files("canaryctl.evidence") / "schema" / "run.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _conform(value: Any, form: Mapping[str, Any], where: str) -> Any:
    """The value with what it lacks. Raises ValueError with its place: of another type, or no word it may be."""
    if "$ref" in form:
        form = _schema()["$defs"][form["$ref"].rpartition("/")[2]]
    if "anyOf" in form:
        found = next((choice for choice in form["anyOf"] if choice.get("type") == "null"), None)
        if value is None and found is not None:
            return None
        return _conform(value, next(choice for choice in form["anyOf"] if choice.get("type") != "null"), where)
    words = [form["const"]] if "const" in form else form.get("enum")
    if words is not None and not any(value == word and type(value) is type(word) for word in words):
        raise ValueError(f"{where} is none of {', '.join(json.dumps(word) for word in words)}")
    kinds = form.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_KINDS[kind](value) for kind in kinds):
        raise ValueError(f"{where} is no {' or '.join(kinds)}")
    if isinstance(value, dict):
        return _object(value, form, where)
    if isinstance(value, list) and "items" in form:
        return [_conform(item, form["items"], f"{where}[{number}]") for number, item in enumerate(value)]
    return value


def _object(value: dict[str, Any], form: Mapping[str, Any], where: str) -> dict[str, Any]:
    known, others = form.get("properties", {}), form.get("additionalProperties")
    names = form.get("propertyNames", {}).get("enum")
    result: dict[str, Any] = {}
    for key, item in value.items():
        if names is not None and key not in names:
            raise ValueError(f"{where} has a key that is none of {', '.join(names)}")
        inner = known.get(key, others)
        result[key] = _conform(item, inner, f"{where}.{key[:80]}") if isinstance(inner, dict) else item
    for key in form.get("required", ()):
        if key not in result:
            result[key] = _empty(known.get(key, {}), f"{where}.{key}")
    return result


def _empty(form: Mapping[str, Any], where: str) -> Any:
    """What stands for a key that is not there."""
    kinds = form.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "null" in kinds or None in form.get("enum", ()) or {"type": "null"} in form.get("anyOf", ()):
        return None
    if not kinds:
        raise ValueError(f"{where} is missing")
    return _conform(json.loads(json.dumps(_NONE_OF[kinds[0]])), form, where)

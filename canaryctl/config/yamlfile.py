"""YAML files with line numbers, and validation whose errors say file, line and the nearest valid name."""

from __future__ import annotations

import difflib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from canaryctl.config.yamltext import LARGEST, parse_yaml
from canaryctl.errors import ConfigError

T = TypeVar("T")
Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A parsed YAML file: plain data, and the line of every key and item by its path."""

    path: Path
    data: Any
    lines: dict[Location, int]

    def line_of(self, location: Location) -> int:
        """Line (from 1) of the nearest enclosing thing that has one."""
        for end in range(len(location), -1, -1):
            if location[:end] in self.lines:
                return self.lines[location[:end]]
        return 1

    def where(self, *location: str | int) -> str:
        """`file:line` of a path in the document."""
        return f"{shown(self.path)}:{self.line_of(location)}"


def shown(path: Path) -> str:
    """A path as an operator would type it: relative to the working directory where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def load_yaml(path: Path) -> Document:
    """Read one YAML document.

    Raises:
        ConfigError: the file is missing, no regular file, unreadable, too long, not UTF-8 or not YAML (with file and
            line).
    """
    try:
        # A pipe that nobody writes into would be waited for without end.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError("it is no regular file", shown(path), "replace it by a file")
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise ConfigError("no such file", shown(path), "check the path, or pass another one") from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error}", shown(path)) from None
    data, node = parse_yaml(decoded(content, path), shown(path))
    lines: dict[Location, int] = {}
    if node:
        _note_lines(node, (), lines)
    return Document(path, data, lines)


def decoded(content: bytes, path: Path) -> str:
    """The text of a file that people write.

    Raises:
        ConfigError: it is not UTF-8, or too long.
    """
    if len(content) > LARGEST:
        raise ConfigError(f"it has more than {LARGEST >> 20} MiB", shown(path), "make it smaller")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot be read: {error}", shown(path), "save it as UTF-8") from None


def _note_lines(node: yaml.Node, at: Location, lines: dict[Location, int]) -> None:
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                here = (*at, key.value)
                lines[here] = key.start_mark.line + 1
                _note_lines(value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note_lines(value, (*at, index), lines)


def validate(model: type[T] | TypeAdapter[T], document: Document, context: Any = None) -> T:
    """Validate a document against a pydantic model or adapter.

    Raises:
        ConfigError: names the first fault by file:line, the others in the same message, and for an unknown key the
            nearest valid one.
    """
    adapter = model if isinstance(model, TypeAdapter) else TypeAdapter(model)
    try:
        return adapter.validate_python(document.data, context=context)
    except ValidationError as error:
        faults = [_fault(document, dict(item), model) for item in error.errors(include_url=False)]
    first_where, first_what, hint = faults[0]
    more = "".join(f"; {where}: {what}" for where, what, _ in faults[1:5])
    raise ConfigError(first_what + more, first_where, hint)


def _fault(document: Document, item: dict[str, Any], model: Any) -> tuple[str, str, str]:
    location: Location = tuple(item["loc"])
    location = _drop_union_tags(document.data, location)
    name = ".".join(str(part) for part in location) or "the document"
    where = document.where(*location)
    if item["type"] == "extra_forbidden":
        valid = sorted(_names_beside(model, location))
        nearest = difflib.get_close_matches(str(location[-1]), valid, n=1, cutoff=0.5)
        hint = f"did you mean '{nearest[0]}'?" if nearest else (f"valid keys: {', '.join(valid)}" if valid else "")
        return where, f"unknown key '{name}'", hint
    if item["type"] == "missing":
        return where, f"'{name}' is required", "add it; see docs/stack.md"
    message = item["msg"].removeprefix("Value error, ")
    given = item.get("input")
    got = ""
    if isinstance(given, (str, float, bool)) or (isinstance(given, int) and abs(given) < 10**100):
        got = f" (got {given!r})"[:200] if repr(given) not in message else ""
    return where, f"'{name}': {message[0].lower()}{message[1:]}{got}", "fix the value"


def _drop_union_tags(data: Any, location: Location) -> Location:
    """Pydantic puts a union's tag into the location; keep only what is in the file."""
    kept: list[str | int] = []
    last = len(location) - 1
    for index, part in enumerate(location):
        inside = (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        )
        if inside:
            data = data[part]
            kept.append(part)
        elif index == last and isinstance(data, dict):
            kept.append(part)
    return tuple(kept)


def _names_beside(model: Any, location: Location) -> set[str]:
    """Every field name valid at the place of an unknown key; all names of the union's members where it is one."""
    names: set[str] = set()
    for candidate in _models_at(model, location[:-1]):
        for name, field in candidate.model_fields.items():
            names.add(field.alias or name)
    return names


def _models_at(annotation: Any, location: Location) -> list[type[BaseModel]]:
    models = _models_in(annotation)
    for part in location:
        if isinstance(part, int):
            continue
        following: list[type[BaseModel]] = []
        for model in models:
            for name, field in model.model_fields.items():
                if part in (name, field.alias):
                    following += _models_in(field.annotation)
        models = following or models
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, TypeAdapter):
        annotation = annotation._type
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found: list[type[BaseModel]] = []
    for inner in getattr(annotation, "__args__", ()) or ():
        found += _models_in(inner)
    return found

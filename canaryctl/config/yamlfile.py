"""YAML files with line numbers, and validation whose errors say file, line and the nearest valid name."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from canaryctl.errors import ConfigError

T = TypeVar("T")
Location = tuple[str | int, ...]
LARGEST = 1 << 20  # bytes of a file that people write


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


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys instead of silently keeping the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen and key != "<<":
                raise yaml.MarkedYAMLError(problem=f"the key '{key}' appears twice", problem_mark=key_node.start_mark)
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> Document:
    """Read one YAML document.

    Raises:
        ConfigError: the file is missing, unreadable, not UTF-8 or not YAML (with file and line).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError("no such file", shown(path), "check the path, or pass another one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", shown(path)) from None
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            data = loader.construct_document(node) if node else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(
            f"not valid YAML: {error.problem or error.context}", f"{shown(path)}:{line}", "mend the file and try again"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}", shown(path), "mend the file and try again") from None
    lines: dict[Location, int] = {}
    if node:
        _note_lines(node, (), lines)
    return Document(path, data, lines)


def _note_lines(node: yaml.Node, at: Location, lines: dict[Location, int]) -> None:
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
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
    got = f" (got {given!r})" if isinstance(given, (str, int, float, bool)) and repr(given) not in message else ""
    return where, f"'{name}': {message[0].lower()}{message[1:]}{got}", "mend the value"


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

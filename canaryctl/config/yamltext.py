"""YAML texts into plain data, bounded in size, depth and what aliases make of them. Every fault has its line."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import yaml

from canaryctl.errors import ConfigError

LARGEST = 1 << 20  # bytes of a file that people write
MOST_NODES = 200_000  # in a document, those that aliases repeat counted each time
DEEPEST = 100  # levels
LONGEST_NUMBER = 100  # characters: conversion takes the square of that

# What constructors raise for content that is not what its tag says.
_UNFIT = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)


class BoundedLoader(yaml.SafeLoader):
    """SafeLoader with bounds, that refuses duplicate keys instead of silently keeping the last."""

    largest, most_nodes = LARGEST, MOST_NODES
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _fault(f"it is more than {DEEPEST} levels deep", self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_document(self) -> yaml.Node | None:
        node: yaml.Node | None = super().compose_document()
        if node is not None:
            _measure(node, {}, self.most_nodes)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except _UNFIT:
            kind = node.tag.rpartition(":")[2]
            raise _fault(f"this is no {kind}", node.start_mark) from None

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and any(
            character == "\0" or "\ud800" <= character <= "\udfff" for character in value
        ):
            raise _fault("a text holds a NUL or half a character", node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise _fault(f"the key '{key}' appears twice", key_node.start_mark)
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep)


def _number(kind: str) -> Any:
    plain = getattr(yaml.SafeLoader, f"construct_yaml_{kind}")

    def construct(loader: BoundedLoader, node: yaml.ScalarNode) -> Any:
        if len(node.value) > LONGEST_NUMBER:
            raise ValueError
        return plain(loader, node)

    return construct


for _kind in ("int", "float"):
    BoundedLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _number(_kind))


class ComposeLoader(BoundedLoader):
    """YAML as compose reads it: `22:22` and `on` are texts, not a number in base sixty and a truth."""

    yaml_implicit_resolvers = {  # noqa: RUF012  as the base class has it
        first: [entry for entry in entries if entry[0].rpartition(":")[2] in ("null", "merge")]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


for _kind, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0[0-7]*|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    ComposeLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), list(_first))


class InventoryLoader(BoundedLoader):
    """For the syntax of what Ansible reads: an operator's own, and as big as a fleet."""

    largest, most_nodes = 64 << 20, 5_000_000


L = TypeVar("L", bound=BoundedLoader)


def _compose(text: str, loader_class: type[L]) -> tuple[L, yaml.Node | None]:
    """The document's node and the loader that made it.

    Raises:
        yaml.YAMLError: it is no YAML document, or too much of one.
    """
    if len(text) > loader_class.largest:
        raise _fault(f"it has more than {loader_class.largest >> 20} MiB", None)
    loader = loader_class(text)
    try:
        return loader, loader.get_single_node()
    finally:
        loader.dispose()


class YamlFault(Exception):  # noqa: N818  made into a ConfigError by who knows the place
    """What is wrong with a text, in its line."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.problem, self.line = problem, line


def read_yaml(text: str, loader_class: type[BoundedLoader] = BoundedLoader) -> tuple[Any, yaml.Node | None]:
    """One document's plain data, and its node, which knows lines.

    Raises:
        YamlFault: it is no YAML document, or too much of one.
    """
    try:
        loader, node = _compose(text, loader_class)
        # An inventory's tags and values are for Ansible to read.
        return (loader.construct_document(node) if node and loader_class is not InventoryLoader else None), node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlFault(str(error.problem or error.context), mark.line + 1 if mark else 1) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlFault(f"the character {chr(error.character)!a} may not stand in it", line) from None
    except (yaml.YAMLError, RecursionError, *_UNFIT) as error:
        raise YamlFault(str(error) or type(error).__name__, 1) from None


def parse_yaml(
    text: str, where: str, *, what: str = "not valid YAML", loader_class: type[BoundedLoader] = BoundedLoader
) -> tuple[Any, yaml.Node | None]:
    """`read_yaml` of a file. `where` names it and `what` begins the error.

    Raises:
        ConfigError: it is no YAML document, or too much of one.
    """
    try:
        return read_yaml(text, loader_class)
    except YamlFault as fault:
        raise ConfigError(
            f"{what}: {fault.problem}", f"{where}:{fault.line}", "correct the file and try again"
        ) from None


def _measure(node: yaml.Node, measured: dict[int, tuple[int, int]], most: int) -> tuple[int, int]:
    """How many nodes an expanded one has, and how many levels. What is being measured has no size yet: (0, 0)."""
    if (known := measured.get(id(node))) is not None:
        if known == (0, 0):
            raise _fault("an alias stands for what it stands in", node.start_mark)
        return known
    if isinstance(node, yaml.ScalarNode):
        return 1, 1
    measured[id(node)] = 0, 0
    parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
    size = levels = 1
    for part in parts:
        more, below = _measure(part, measured, most)
        size, levels = size + more, max(levels, below + 1)
        if size > most or levels > DEEPEST:
            raise _fault(f"aliases make more than {most} items or {DEEPEST} levels of it", node.start_mark)
    measured[id(node)] = size, levels
    return size, levels


def _fault(problem: str, mark: yaml.Mark | None) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)

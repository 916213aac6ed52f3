"""An inventory as it is written: which variable is set where, on which line. Parsed from text; nothing is read here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import yaml

from canaryctl.config.yamltext import InventoryLoader, YamlFault, read_yaml

_VAULTED_FILE = "$ANSIBLE_VAULT"


@dataclass(frozen=True)
class Scalar:
    """One value somewhere in a variable: its path below the variable, its text and its YAML tag (`!vault`)."""

    path: tuple[str, ...]
    text: str
    tag: str
    line: int


@dataclass(frozen=True)
class Definition:
    """A variable that a file sets for a group or a host (`scope`: group or host, `owner`: its name)."""

    name: str
    scope: str
    owner: str
    file: str
    line: int
    scalars: tuple[Scalar, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """All of an inventory's definitions; what could not be decrypted; group and host names that files are named after.

    `unread`: a whole file of variables is missing, so that names seem undefined which are not.
    `parents` has every group that the files name, with the groups it is a child of.
    """

    definitions: tuple[Definition, ...] = ()
    undecryptable: tuple[tuple[str, int, str], ...] = ()
    vars_of: tuple[tuple[str, str, str], ...] = ()
    unread: bool = False
    parents: Mapping[str, frozenset[str]] | None = None

    def ancestors(self, group: str) -> set[str]:
        """Every group that a group is in, `all` included."""
        found, waiting = {"all"}, [group]
        while waiting:
            for parent in (self.parents or {}).get(waiting.pop(), frozenset()):
                if parent not in found:
                    found.add(parent)
                    waiting.append(parent)
        return found


@dataclass(frozen=True)
class InventoryFile:
    """A file of an inventory: its name as people see it, its path below the inventory, its text.

    `vaulted`: the text was decrypted, so nothing in it is plain. A vaulted file that was not has its text as it is.
    """

    shown: str
    path: str
    text: str
    vaulted: bool = False


def read_inventory(files: Iterable[InventoryFile], undecryptable: Iterable[tuple[str, int, str]] = ()) -> Inventory:
    """Parse an inventory's files. `undecryptable` are (file, line, why) of vaulted content."""
    definitions: list[Definition] = []
    vars_of: list[tuple[str, str, str]] = []
    parents: dict[str, set[str]] = {}
    unread = False
    for entry in files:
        file, path, text = entry.shown, entry.path, entry.text
        unread |= text.startswith(_VAULTED_FILE)
        folder, _, rest = path.partition("/")
        if folder in ("group_vars", "host_vars"):
            scope, owner = folder.removesuffix("_vars"), re.sub(r"\.(ya?ml|json)$", "", rest.split("/")[0])
            vars_of.append((scope, owner, file))
            found = _definitions(_root(text), scope, owner, file)
            definitions += map(_as_vaulted, found) if entry.vaulted else found
        elif path.endswith((".yml", ".yaml")):
            definitions += _groups(_root(text), file, parents)
        elif "/" not in path and (path.endswith(".ini") or "." not in path):
            definitions += _ini(text, file, parents)
    return Inventory(
        tuple(definitions),
        tuple(undecryptable),
        tuple(vars_of),
        unread,
        {group: frozenset(above) for group, above in parents.items()},
    )


def _as_vaulted(definition: Definition) -> Definition:
    return replace(definition, scalars=tuple(replace(scalar, tag="!vault") for scalar in definition.scalars))


def _root(text: str) -> yaml.Node | None:
    if text.startswith(_VAULTED_FILE):
        return None
    try:
        return read_yaml(text, InventoryLoader)[1]
    except YamlFault:
        return None  # the inventory does not load either, which is a finding of its own


def _pairs(node: yaml.Node | None) -> Iterator[tuple[str, int, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), key.start_mark.line + 1, value


def _definitions(node: yaml.Node | None, scope: str, owner: str, file: str) -> Iterator[Definition]:
    for name, line, value in _pairs(node):
        yield Definition(name, scope, owner, file, line, tuple(_scalars(value, ())))


def _scalars(node: yaml.Node, path: tuple[str, ...]) -> Iterator[Scalar]:
    if isinstance(node, yaml.ScalarNode):
        yield Scalar(path, str(node.value), node.tag, node.start_mark.line + 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _scalars(item, (*path, str(index)))
    else:
        for key, _, value in _pairs(node):
            yield from _scalars(value, (*path, key))


def _groups(node: yaml.Node | None, file: str, parents: dict[str, set[str]]) -> Iterator[Definition]:
    for group, _, body in _pairs(node):
        parents.setdefault(group, set())
        for key, _, value in _pairs(body):
            if key == "vars":
                yield from _definitions(value, "group", group, file)
            elif key == "hosts":
                for host, _, variables in _pairs(value):
                    yield from _definitions(variables, "host", host, file)
            elif key == "children":
                for child, _, _ in _pairs(value):
                    parents.setdefault(child, set()).add(group)
                yield from _groups(value, file, parents)


def _ini(text: str, file: str, parents: dict[str, set[str]]) -> Iterator[Definition]:
    section, kind = "all", ""
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if match := re.fullmatch(r"\[([^:\]]+)(?::(\w+))?\]", line):
            section, kind = match[1], match[2] or ""
            parents.setdefault(section, set())
        elif kind == "children":
            parents.setdefault(line.split()[0], set()).add(section)
        elif kind == "vars":
            name, _, value = (part.strip() for part in line.partition("="))
            yield Definition(name, "group", section, file, number, (_plain(value, number),))
        else:
            host = line.split()[0]
            for name, value in re.findall(r"(\w+)=(\"[^\"]*\"|'[^']*'|\S+)", line):
                yield Definition(name, "host", host, file, number, (_plain(value, number),))


def _plain(value: str, line: int) -> Scalar:
    return Scalar((), value.strip("\"'"), "tag:yaml.org,2002:str", line)

"""Find tests of booleans in roles/ and playbooks/ that take the string 'false' for true.

`-e x=false`, an INI inventory and AWX's surveys give strings, and an argument specification validates them without
converting. So every use of a boolean that a user can set has to go through `| bool`. Run with the project's Python;
exit 1 where one does not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from jinja2 import Environment, TemplateSyntaxError, nodes

ROOT = Path(__file__).parents[1]
# What users set by these names ends up in roles' booleans, or is tested as it is.
USERS = {"canary_allow_docker_restart", "canary_disposable", "canary_down_volumes", "canary_gpu"}
# Keys whose value is an expression without braces.
CONDITIONS = {"when", "that", "until", "changed_when", "failed_when"}
PLACES = ("roles/*/tasks", "roles/*/handlers", "roles/*/defaults", "roles/*/vars", "playbooks")


def declared_booleans(root: Path) -> set[str]:
    """Names of every variable that a role's argument specification gives as `type: bool`."""
    found = set()
    for path in root.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text("utf-8"))["argument_specs"].values():
            found |= {name for name, option in (entry.get("options") or {}).items() if option.get("type") == "bool"}
    return found


def bare_tests(expression: str, booleans: set[str], *, condition: bool = False) -> list[str]:
    """Booleans that an expression, or a text with some, uses without `| bool`."""
    text = "{{ " + expression + " }}" if condition and "{{" not in expression else expression
    try:
        tree = Environment(autoescape=True).parse(text)
    except TemplateSyntaxError:
        return []  # ansible-lint's matter
    filtered = {id(name) for node in tree.find_all(nodes.Filter) if node.name == "bool" for name in _tested(node)}
    return [name.name for name in tree.find_all(nodes.Name) if name.name in booleans and id(name) not in filtered]


def _tested(node: nodes.Filter) -> Iterator[nodes.Name]:
    """The variable that `| bool` is put to: itself, or behind `| default(...)`."""
    inner = node.node
    while isinstance(inner, nodes.Filter) and inner.name in ("default", "d"):
        inner = inner.node
    if isinstance(inner, nodes.Name):
        yield inner


def scalars(node: yaml.Node | None, key: str = "") -> Iterator[tuple[int, str, str]]:
    """Every scalar below a YAML node: line, key it belongs to, text."""
    if isinstance(node, yaml.ScalarNode):
        yield node.start_mark.line + 1, key, node.value
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from scalars(item, key)
    elif isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield from scalars(value, str(name.value))


def faults(root: Path) -> list[str]:
    """`path:line: what` of each bare test below a project's root."""
    booleans = declared_booleans(root) | USERS
    found = [
        f"{path.relative_to(root)}:{line}: {name} is tested without '| bool': the string 'false' would be true"
        for place in PLACES
        for path in sorted(root.glob(f"{place}/*.yml"))
        for line, key, text in scalars(yaml.compose(path.read_text("utf-8")))
        for name in bare_tests(text, booleans, condition=key in CONDITIONS)
    ]
    return found + [
        f"{path.relative_to(root)}: {name} is tested without '| bool': the string 'false' would be true"
        for path in sorted(root.glob("roles/*/templates/**/*.j2"))
        for name in bare_tests(path.read_text("utf-8"), booleans)
    ]


if __name__ == "__main__":
    found = faults(ROOT)
    sys.exit("\n".join(found) or 0)

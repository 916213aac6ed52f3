"""Names that Jinja templates in variables use without a way out. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import Environment, TemplateError, nodes

# What Ansible itself knows, beside every `ansible_*`.
KNOWN = frozenset(
    (
        *("inventory_hostname", "inventory_hostname_short", "inventory_file", "inventory_dir", "groups", "group_names"),
        *("hostvars", "playbook_dir", "role_path", "role_name", "omit", "vars", "environment", "play_hosts", "item"),
        *("lookup", "query", "q", "now", "undef", "finalize", "range", "dict", "lipsum", "cycler", "joiner"),
        *("namespace", "true", "false", "none", "True", "False", "None"),
    )
)
_FORGIVING_FILTERS = {"default", "d"}
_FORGIVING_TESTS = {"defined", "undefined"}


def used_names(text: str) -> set[str]:
    """Variables a template needs; none where it says what is to be when one is missing, or where it is no template."""
    if "{{" not in text and "{%" not in text:
        return set()
    try:
        tree = Environment(autoescape=True).parse(text)
    except TemplateError:
        return set()
    own = {name.name for name in tree.find_all(nodes.Name) if name.ctx in ("store", "param")}
    return set(_loaded(tree)) - own - KNOWN


def _loaded(node: nodes.Node, forgiven: bool = False) -> Iterator[str]:
    if isinstance(node, nodes.Name):
        if node.ctx == "load" and not forgiven:
            yield node.name
        return
    if (isinstance(node, nodes.Filter) and node.name in _FORGIVING_FILTERS) or (
        isinstance(node, nodes.Test) and node.name in _FORGIVING_TESTS
    ):
        for child in node.iter_child_nodes():
            yield from _loaded(child, child is node.node)
        return
    # A condition may guard what stands in its branches: only the condition itself is certain to be evaluated.
    if isinstance(node, (nodes.CondExpr, nodes.If)):
        yield from _loaded(node.test)
        return
    for child in node.iter_child_nodes():
        yield from _loaded(child, forgiven and isinstance(node, (nodes.Getattr, nodes.Getitem)))

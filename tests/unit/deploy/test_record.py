"""The record tells what became of a run; what a run does is decided by its state (docs/decisions/0005-the-house.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from canaryctl import deploy

MODULES = sorted(Path(deploy.__file__).parent.glob("*.py"))


def decisions(tree: ast.AST) -> Iterator[ast.AST]:
    """What the code of a module asks before it goes one way or another."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.If, ast.IfExp, ast.While, ast.Assert)):
            yield from ast.walk(node.test)


def reads_own_record(node: ast.AST) -> bool:
    """Whether it is `ctx.run.document`, or another run's of ours by that way."""
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "document"
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "run"
    )


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_nothing_is_decided_by_the_record(module: Path) -> None:
    text = module.read_text()
    assert not [node for node in decisions(ast.parse(text)) if reads_own_record(node)]
    assert 'document["stages"]' not in text and '.document["command"]' not in text and "changed_from" not in text

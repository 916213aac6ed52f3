"""Find what has outgrown a reader's head: modules, functions and lists of parameters.

Run with the project's Python; exit 1 where something has. Commands of the command line may take as many parameters as
they have options.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = ("canaryctl", "roles", "scripts", "bench")
COMMANDS = Path("canaryctl/cli")
MODULE_LINES = 350
FUNCTION_LINES = 60  # below its first
PARAMETERS = 8


def too_large(path: Path, text: str) -> Iterator[str]:
    """`path: what` of a module and of each of its functions that is over a limit; the path is below the root."""
    lines = len(text.splitlines())
    if lines > MODULE_LINES:
        yield f"{path}: {lines} lines"
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno
        if lines > FUNCTION_LINES:
            yield f"{path}: {node.name} has {lines} lines"
        parameters = len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])
        if parameters > PARAMETERS and not path.is_relative_to(COMMANDS):
            yield f"{path}: {node.name} has {parameters} parameters"


def faults(root: Path) -> list[str]:
    """What is too large below a project's root."""
    return [
        fault
        for place in PLACES
        for path in sorted((root / place).rglob("*.py"))
        for fault in too_large(path.relative_to(root), path.read_text("utf-8"))
    ]


if __name__ == "__main__":
    found = faults(ROOT)
    limits = f"at most {MODULE_LINES} lines a module, {FUNCTION_LINES} a function, {PARAMETERS} parameters"
    sys.exit("\n".join([*found, limits]) if found else 0)

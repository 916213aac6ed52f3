"""Documents and comments name files, functions and pages that are there."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LISTED = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
TRACKED = [Path(name) for name in LISTED if (ROOT / name).is_file()]
PAGES = [path for path in TRACKED if path.suffix == ".md" and path.parts[0] != "tests"]
SOURCES = [path for path in TRACKED if path.suffix in (".py", ".yml", ".sh", ".j2") and path.parts[0] != "tests"]
# `path/to/module.py`, with `:name` or `:Class.method` behind it where one thing in it is meant; capitals stand for any.
_MODULE = re.compile(r"(?<![\w./*-])((?:[\w.-]+/)+[\w-]+\.py)(?::([a-z_A-Z][\w.]*))?(?![\w/*])")
_FILE = re.compile(r"(?<![\w./*-])([a-z_]+\.py)\b")
_DOCUMENT = re.compile(r"(?<![\w./-])(docs/[\w/-]+)(?:\.md)?(?:#[\w-]+)?")
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[\w-]+)?\)")
# Of hosts and containers, and what a reader is told to write.
_ELSEWHERE = ("alembic/", "hooks/", "ci/")


def is_placeholder(path: str) -> bool:
    return any(part.removesuffix(".py").isupper() for part in path.split("/")) or path.startswith(_ELSEWHERE)


@cache
def names_in(path: Path) -> frozenset[str]:
    """Everything that a module defines: functions, classes, their methods and fields, constants."""
    found: set[str] = set()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                collect(node.body, f"{prefix}{node.name}.")
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            found.update(prefix + target.id for target in targets if isinstance(target, ast.Name))

    collect(ast.parse(path.read_text("utf-8")).body, "")
    return frozenset(found)


def lost(text: str, beside: Path) -> list[str]:
    """Modules, and names in them, that a text means and that are not there."""
    found = []
    for path, name in _MODULE.findall(text):
        if is_placeholder(path):
            continue
        places = [folder / path for folder in (ROOT, ROOT / "canaryctl", ROOT / beside.parent)]
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            found.append(path)
        elif name and name not in names_in(file):
            found.append(f"{path}:{name}")
    known = {path.name for path in TRACKED}
    return found + [name for name in _FILE.findall(text) if name not in known]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_names_modules_and_pages_that_are_there(page: Path) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert lost(text, page) == []
    for target, anchor in _LINK.findall(text):
        there = (ROOT / page).parent / target if target else ROOT / page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), f"{target}{anchor}"


def test_comments_name_modules_and_pages_that_are_there() -> None:
    found = {}
    for source in SOURCES:
        text = (ROOT / source).read_text("utf-8")
        missing = lost(text, source)
        for name in _DOCUMENT.findall(text):
            parent, stem = (ROOT / name).parent, (ROOT / name).name
            if not (ROOT / name).is_dir() and not list(parent.glob(f"{stem}.md")) + list(parent.glob(f"{stem}-*.md")):
                missing.append(name)
        if missing:
            found[str(source)] = missing
    assert found == {}


def test_every_decision_has_a_number_of_its_own() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    assert [page.read_text("utf-8").split(".")[0] for page in pages] == [f"# {number}" for number in numbers]

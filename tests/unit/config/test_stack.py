"""stack.yml: what is accepted, and how each fault is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from canaryctl.config.project import load_project
from canaryctl.config.sizes import parse_size
from canaryctl.config.stack import Stack, load_stack
from canaryctl.errors import ConfigError

GOOD = """\
stack: shop
images:
  web: {build: {context: .}, tag: "shop-web:test", contract: {max_size: 700MB}}
  db: {tag: "shop-db:test"}
variants:
  plain: {web: web, db: db}
placement: {all: [db, web]}
compose: compose.yml.j2
assets: [rules/]
secrets: [DB_PASSWORD]
migrations: {service: web, upgrade: "migrate up", current: "migrate current", backup: db}
"""


@pytest.fixture
def stack_file(tmp_path: Path) -> Path:
    (tmp_path / "compose.yml.j2").write_text("services: {}\n")
    (tmp_path / "rules").mkdir()
    (tmp_path / "stack.yml").write_text(GOOD)
    return tmp_path / "stack.yml"


def fault(stack_file: Path, old: str, new: str) -> ConfigError:
    text = stack_file.read_text()
    assert old in text
    stack_file.write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_stack(stack_file)
    return caught.value


def test_a_good_stack_is_read(stack_file: Path) -> None:
    stack = load_stack(stack_file)
    assert stack.choose_variant(None) == "plain"
    assert stack.images["web"].contract.max_size == 700_000_000
    assert stack.migrations and stack.migrations.databases == ("db",)
    assert stack.directory == stack_file.parent.resolve()


def test_a_misspelt_key_names_file_line_and_the_nearest_name(stack_file: Path) -> None:
    error = fault(stack_file, "migrations: {service", "migratoins: {service")
    assert error.where.endswith("stack.yml:11")
    assert "migratoins" in error.what and "migrations" in error.hint
    assert error.exit_code == 2


def test_a_misspelt_key_deep_inside_is_found_too(stack_file: Path) -> None:
    error = fault(stack_file, "{max_size: 700MB}", "{max_siez: 700MB}")
    assert error.where.endswith("stack.yml:3") and "max_size" in error.hint


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("secrets: [DB_PASSWORD]", "secrets: 7", 10, "secrets"),
        ("700MB", "lots", 3, "not a size"),
        ("{web: web, db: db}", "{web: wbe, db: db}", 6, "wbe"),
        ("[db, web]", "[db]", 7, "web"),
        ("[db, web]", "[db, web, worker]", 7, "worker"),
        ("service: web, upgrade", "service: wbe, upgrade", 11, "wbe"),
        ("rules/", "rulez/", 9, "rulez/"),
        ("compose: compose.yml.j2", "compose: ../compose.yml.j2", 8, "below"),
        ('{tag: "shop-db:test"}', "{}", 4, "tag"),
    ],
)
def test_a_wrong_value_names_its_line(stack_file: Path, old: str, new: str, line: int, words: str) -> None:
    error = fault(stack_file, old, new)
    assert error.where.endswith(f"stack.yml:{line}"), error.where
    assert words in f"{error.what} {error.hint}"


def test_yaml_that_does_not_parse_names_its_line(stack_file: Path) -> None:
    error = fault(stack_file, "secrets: [DB_PASSWORD]", "secrets: [DB_PASSWORD")
    assert "not valid YAML" in error.what and "stack.yml:1" in error.where


def test_a_key_written_twice_is_refused(stack_file: Path) -> None:
    error = fault(stack_file, "secrets: [DB_PASSWORD]", "secrets: [DB_PASSWORD]\nstack: other")
    assert "twice" in error.what and error.where.endswith("stack.yml:11")


def test_an_unknown_variant_lists_those_there_are(stack_file: Path) -> None:
    stack: Stack = load_stack(stack_file)
    with pytest.raises(ConfigError, match="no variant 'nope'") as caught:
        stack.choose_variant("nope")
    assert "plain" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "size"), [("700MB", 700_000_000), ("2GiB", 2 << 30), (5, 5), ("1.5 GB", 1_500_000_000)]
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


def test_the_project_is_found_upwards_and_overridden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "canaryctl.yml").write_text("stack: app/stack.yml\n")
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    project = load_project(start=deep)
    assert project.stack == tmp_path / "app" / "stack.yml"
    assert project.runs == tmp_path / "runs"
    monkeypatch.chdir(deep)
    monkeypatch.setenv("CANARYCTL_RUNS", "evidence")
    assert load_project(stack="mine.yml").stack == deep / "mine.yml"
    assert load_project().runs == deep / "evidence"


def test_without_a_project_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_project(start=tmp_path)
    assert "canaryctl.yml" in caught.value.what and caught.value.hint

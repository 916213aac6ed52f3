"""What came of imports and runs inside an image, told so that its owner knows what to fix."""

from __future__ import annotations

import re
from typing import Any

import pytest

from canaryctl.contract.inside.imports import MARK
from canaryctl.contract.modules import check_absent, check_present, misfit, parse_answer
from canaryctl.contract.results import Row
from canaryctl.contract.running import Ran

MISSING = "ModuleNotFoundError: No module named"


def present(name: str, answer: dict[str, Any], **document: Any) -> Row:
    return check_present("web", name, {"modules": {name: answer}, **document}, timeout=5, memory=10**9, where="here")


def absent(name: str, answer: dict[str, Any]) -> Row:
    return check_absent("web", name, {"modules": {name: answer}}, where="here")


def test_the_answer_is_found_behind_whatever_else_was_printed() -> None:
    assert parse_answer(f"WARNING: x\n\n{MARK}" + '{"uid": 1}\nbye\n') == {"uid": 1}
    assert parse_answer("nothing") is None


def test_a_module_that_imports_passes_with_its_version() -> None:
    row = present("torch", {"fault": "", "version": "2.6.0"})
    assert row.verdict == "passed" and row.found == "imports, version 2.6.0"


@pytest.mark.parametrize(
    ("name", "answer", "document", "words"),
    [
        ("alembic", {"fault": "missing", "name": "alembic", "text": f"{MISSING} 'alembic'"}, {}, "is not in the image"),
        (
            "shop.api",
            {"fault": "missing", "name": "redis", "text": f"{MISSING} 'redis'"},
            {},
            "shop.api is in the image, but needs redis",
        ),
        (
            "shop",
            {"fault": "missing", "name": "shop", "text": f"{MISSING} 'shop'"},
            {"bare": "/app"},
            "the working directory /app is empty: .* as a volume mount",
        ),
        (
            "shop",
            {"fault": "missing", "name": "shop", "text": f"{MISSING} 'shop'"},
            {"dangling": ["/src"]},
            "installed from /src, where nothing is: .* as a volume mount",
        ),
        ("shop", {"fault": "hollow", "hollow": "/app/shop"}, {}, "/app/shop holds no source: .* as a volume mount"),
        (
            "shop.api",
            {"fault": "missing", "name": "shop.api", "text": f"{MISSING} 'shop.api'", "hollow": "/app/shop"},
            {},
            "/app/shop holds no source: .* as a volume mount",
        ),
        ("shop", {"fault": "broken", "text": "RuntimeError: no"}, {}, "breaks when it is imported: RuntimeError: no"),
        ("shop", {"fault": "late"}, {}, "did not end within 5 s"),
        ("shop", {"fault": "died", "signal": 11}, {}, "kills Python \\(SIGSEGV\\)"),
        ("shop", {"fault": "died", "signal": 9}, {}, "more memory than the 1.00 GB"),
        ("shop", {"fault": "died", "code": 3}, {}, "exit code 3"),
    ],
)
def test_each_way_to_fail_has_its_own_words(
    name: str, answer: dict[str, Any], document: dict[str, Any], words: str
) -> None:
    row = present(name, answer, **document)
    assert row.verdict == "failed"
    assert re.search(words, row.reason), row.reason


def test_a_late_import_is_not_remembered() -> None:
    assert present("shop", {"fault": "late"}).late and not present("shop", {"fault": "broken", "text": "x"}).late


def test_a_module_is_absent_only_where_python_does_not_know_it() -> None:
    assert absent("torch", {"fault": "missing", "name": "torch"}).verdict == "passed"
    assert absent("torch.cuda", {"fault": "missing", "name": "torch"}).verdict == "passed"
    there = absent("torch", {"fault": "", "version": "2.6.0"})
    assert there.verdict == "failed" and there.reason == "torch (2.6.0) is in the image and imports"
    lame = absent("torch", {"fault": "missing", "name": "numpy", "text": f"{MISSING} 'numpy'"})
    assert lame.verdict == "failed" and "though it does not import" in lame.reason
    assert absent("torch", {"fault": "broken", "text": "OSError: libcuda"}).verdict == "failed"


# What docker run says where a program is not in the image: 20.10, 28, and a shell of the image's own.
OLD = (
    'docker: Error response from daemon: OCI runtime create failed: exec: "python3": executable file not found in $PATH'
)
NEW = 'docker: Error response from daemon: failed to create task: exec: "sh": stat sh: no such file or directory'
SHELL = "sh: 1: alembic: not found"


@pytest.mark.parametrize(
    ("code", "output", "missing"),
    [(127, OLD, True), (127, NEW, True), (127, SHELL, False), (1, "exec: no such file or directory", False)],
)
def test_a_program_that_is_missing_is_told_from_a_command_that_fails(code: int, output: str, missing: bool) -> None:
    assert Ran(code, output, 0.1).no_program is missing


def test_docker_that_cannot_run_the_image_is_no_fault_of_the_image() -> None:
    assert Ran(125, "docker: Cannot connect to the Docker daemon at unix:///x.", 0.1).fault
    assert "another kind of processor" in Ran(1, "exec /bin/sh: exec format error", 0.1).fault
    assert Ran(1, "boom", 0.1).fault == ""


def test_last_words_leave_dockers_own_warnings_out() -> None:
    said = "WARNING: no swap limit support\none\n\ntwo\nthree\nfour\n"
    assert Ran(1, said, 0.1).last_words == "two / three / four"


def test_killed_in_time_means_memory_and_killed_late_does_not() -> None:
    assert Ran(137, "", 1.0).out_of_memory
    assert not Ran(137, "", 5.0, late=True).out_of_memory


def test_hidden_values_leave_every_word_of_a_row() -> None:
    row = Row("web", "command echo pw123", "failed", "pw123", "it said pw123").without({"pw123": "secret A"})
    assert "pw123" not in str(row) and row.reason == "it said [secret A]"


GOOD = {"uid": 1000, "bare": "", "dangling": [], "modules": {"a": {"fault": "", "version": "1", "seconds": 0.1}}}


@pytest.mark.parametrize("said", ["5", "[1]", "null", "NaN", '{"uid": Infinity}', "9" * 5000, "[" * 5000, "{"])
def test_what_an_image_prints_in_the_answers_place_is_no_answer(said: str) -> None:
    assert parse_answer(MARK + said) is None


@pytest.mark.parametrize(
    "change",
    [
        {"uid": None},
        {"uid": True},
        {"uid": 10**30},
        {"modules": []},
        {"modules": {}},
        {"modules": {"a": None}},
        {"modules": {"a": {}}},
        {"modules": {"a": {"fault": ["x"]}}},
        {"modules": {"a": {"fault": "missing"}}},
        {"modules": {"a": {"fault": "missing", "name": 5}}},
        {"modules": {"a": {"fault": "hollow"}}},
        {"modules": {"a": {"fault": "died", "signal": "9"}}},
        {"modules": {"a": {"fault": "", "seconds": [1]}}},
        {"dangling": [1]},
        {"bare": 1},
    ],
)
def test_an_answer_that_the_program_would_not_give_is_named(change: dict[str, Any]) -> None:
    assert misfit(GOOD, ["a"]) == ""
    assert misfit({**GOOD, **change}, ["a"])


def test_an_image_that_prints_the_words_of_docker_often_takes_no_time_to_read() -> None:
    assert not Ran(127, "exec: " * 200_000, 0.0).no_program
    assert Ran(127, "exec: " * 10 + "no such file or directory", 0.0).no_program

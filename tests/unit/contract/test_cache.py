"""What is remembered of contracts: only for the same image and promise, and never half a file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from canaryctl.config.contract import Contract
from canaryctl.contract.cache import Cache
from canaryctl.contract.results import Row

ROWS = [Row("web", "module torch absent", "failed", "imports", "it is there", seconds=1.5)]
PROMISE = Contract.model_validate({"modules": {"absent": ["torch"]}})


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "contracts")


def test_rows_come_back_as_they_were(cache: Cache) -> None:
    key = Cache.key("sha256:1", PROMISE, ["A"])
    assert cache.rows(key) == []
    cache.keep(key, ROWS)
    assert cache.rows(key) == ROWS


def test_another_image_promise_secret_or_place_is_another_question() -> None:
    keys = {
        Cache.key("sha256:1", PROMISE, ["A"]),
        Cache.key("sha256:2", PROMISE, ["A"]),
        Cache.key("sha256:1", Contract(), ["A"]),
        Cache.key("sha256:1", PROMISE, ["A", "B"]),
        Cache.key("sha256:1", PROMISE, ["A"], "gpu host-1"),
    }
    assert len(keys) == 5


@pytest.mark.parametrize("damage", [b"", b"[{", b'{"a": 1}', b'[{"image": "web"}]', b"[1]", b"\xff"])
def test_a_damaged_file_is_not_known(cache: Cache, damage: bytes) -> None:
    key = Cache.key("sha256:1", PROMISE, [])
    cache.keep(key, ROWS)
    (cache.folder / f"{key}.json").write_bytes(damage)
    assert cache.rows(key) == []
    cache.keep(key, ROWS)
    assert cache.rows(key) == ROWS


def test_only_the_owner_reads_it(cache: Cache) -> None:
    cache.keep(Cache.key("sha256:1", PROMISE, []), ROWS)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in cache.folder.iterdir()}
    assert modes == {0o600} and stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_written_costs_no_check(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file" / "contracts")
    cache.keep("rows-1", ROWS)
    assert cache.rows("rows-1") == []


def test_what_must_be_checked_again_is_kept_all_the_same(cache: Cache) -> None:
    cache.keep("rows-1", ROWS)
    assert Cache(cache.folder, read=False).rows("rows-1") == []
    assert cache.rows("rows-1") == ROWS


def test_layers_are_kept_beside(cache: Cache) -> None:
    layers = [{"size": 1, "created_by": "RUN x"}]
    assert cache.layers("sha256:1", []) is None
    cache.keep_layers("sha256:1", [], layers)
    assert cache.layers("sha256:1", []) == layers

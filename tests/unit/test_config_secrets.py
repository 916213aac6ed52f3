"""Where secrets come from, and the env file they become."""

from __future__ import annotations

from pathlib import Path

import pytest

from canaryctl.config.secrets import env_file, resolve_secrets
from canaryctl.errors import ConfigError


def test_every_source_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("from-file\n")
    monkeypatch.setenv("B_SOURCE", "from-env")
    monkeypatch.setenv("D", "by-name")
    sources = {"A": {"file": str(tmp_path / "a")}, "B": {"env": "B_SOURCE"}, "C": "vaulted"}
    assert resolve_secrets(["A", "B", "C", "D"], sources, "prod") == {
        "A": "from-file",
        "B": "from-env",
        "C": "vaulted",
        "D": "by-name",
    }


def test_missing_ones_are_listed_together(tmp_path: Path) -> None:
    sources = {"A": {"file": str(tmp_path / "none")}, "B": {"env": "SURELY_NOT_SET"}, "C": {"oops": 1}, "D": ""}
    with pytest.raises(ConfigError) as caught:
        resolve_secrets(["A", "B", "C", "D"], sources, "prod")
    assert all(name in caught.value.what for name in ("A (", "B (", "C (", "D ("))


def test_env_file_escapes_what_compose_would_interpret() -> None:
    assert env_file({"B": 'a"b\\c$d', "A": "x\ny"}) == 'A="x\\ny"\nB="a\\"b\\\\c\\$d"\n'

"""Where things are kept that can be made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from canaryctl.config.caches import cache_home


@pytest.mark.parametrize("xdg", ["", "elsewhere"])
def test_xdg_s_folder_counts_and_the_home_s_without_one(
    xdg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", xdg and str(tmp_path / xdg))
    home = cache_home("layers")
    assert home == tmp_path / (xdg or ".cache") / "canaryctl/layers" and not home.exists()

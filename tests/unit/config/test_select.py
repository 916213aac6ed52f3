"""--only and --skip: by name or tag, with what is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from canaryctl.config.probes import Probe, load_probes
from canaryctl.config.probes.select import select_probes
from canaryctl.errors import ConfigError


@pytest.fixture
def probes(tmp_path: Path) -> tuple[Probe, ...]:
    (tmp_path / "probes.yml").write_text(
        """
- {name: Health, kind: tcp, on: c, port: 1, tags: [quick]}
- {name: Workers, kind: tcp, on: c, port: 1, needs: Health}
- {name: Training, kind: tcp, on: c, port: 1, needs: Workers, tags: [slow]}
- {name: Backtest, kind: tcp, on: c, port: 1, needs: Workers, tags: [slow]}
"""
    )
    return load_probes(tmp_path / "probes.yml")


@pytest.mark.parametrize(
    "only, skip, names",
    [
        ([], [], ["Health", "Workers", "Training", "Backtest"]),
        (["Training"], [], ["Health", "Workers", "Training"]),
        (["quick"], [], ["Health"]),
        (["quick", "Backtest"], [], ["Health", "Workers", "Backtest"]),
        ([], ["slow"], ["Health", "Workers"]),
        ([], ["Training"], ["Health", "Workers", "Backtest"]),
        (["slow"], ["Backtest"], ["Health", "Workers", "Training"]),
        (["quick", "slow"], ["Workers"], ["Health"]),
    ],
)
def test_what_runs(probes: tuple[Probe, ...], only: list[str], skip: list[str], names: list[str]) -> None:
    assert [probe.name for probe in select_probes(probes, only, skip).probes] == names


def test_a_whole_run_has_no_note_and_a_partial_one_says_what_is_left_out_and_why(probes: tuple[Probe, ...]) -> None:
    assert select_probes(probes, [], []).note == ""
    assert select_probes(probes, ["Health", "Training"], ["Workers"]).note == (
        "only 1 of 4 probes ran, so this proves no release; left out: Workers (--skip), Training (needs Workers), "
        "Backtest (not in --only)"
    )


@pytest.mark.parametrize(
    "only, skip, said, hint",
    [
        (["Trainig"], [], "--only 'Trainig' is neither a probe's name nor a tag", "did you mean 'Training'?"),
        ([], ["training"], "--skip 'training' is neither", "did you mean 'Training'?"),
        ([], ["xyz"], "--skip 'xyz'", "names and tags there are: Health, quick, Workers, Training, slow, Backtest"),
        (["slow"], ["Health"], "leave no probe", "fewer"),
    ],
)
def test_what_is_refused(probes: tuple[Probe, ...], only: list[str], skip: list[str], said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        select_probes(probes, only, skip)
    assert said in str(refused.value) and hint in refused.value.hint

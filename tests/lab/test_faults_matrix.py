"""A sample of `make faults`: the cells that were wrong once, and others that change from day to day.

docs/reliability.md says what must hold in each. `FAULT_SEED` (the day's number unless set) chooses the others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import LAB
from faults import looks
from faults.cells import Cell, sample
from faults.command import end_all
from faults.lane import Lane
from faults.trial import try_cell

from canaryctl import lab as labs
from canaryctl.lab.faults import FAULTS

pytestmark = pytest.mark.lab

OTHERS = 2
SEED = int(os.environ.get("FAULT_SEED") or time.time() // 86400)


@pytest.fixture(scope="module")
def lane(lab_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """canary-1, which serves a page and a database."""
    made = Lane(labs.require(LAB), "canary-1", Path(tmp_path_factory.mktemp("matrix")) / "lane")
    try:
        made.clean()
        made.make_well()
        made.birth = frozenset(looks.leftovers(made))
        yield made
    finally:
        end_all()
        made.poller.close()
        made.clean()


@pytest.mark.parametrize("cell", sample(list(FAULTS), OTHERS, SEED), ids=str)
def test_whatever_breaks_something_good_serves_and_the_same_again_passes(lane: Lane, cell: Cell) -> None:
    seen = try_cell(lane, cell)
    assert seen.wrong == [], f"FAULT_SEED={SEED}\n{seen.said[-3000:]}\n{seen.again_said}\n{seen.state}"

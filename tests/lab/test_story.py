"""The promotion story of `make demo STORY=promotion`, on the test lab."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, Example

pytestmark = pytest.mark.whole_lab


def test_promotion_story_goes_as_told(lab_env: dict[str, str], runs_dir: Path, example: Example) -> None:
    example.alter()
    done = subprocess.run(
        [str(ROOT / "scripts" / "story")],
        cwd=ROOT,
        env={**lab_env, "CANARYCTL_RUNS": str(runs_dir), "DOCKER_BUILDKIT": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]

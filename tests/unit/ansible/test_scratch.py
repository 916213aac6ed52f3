"""Private directories that outlive no process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from canaryctl.ansible.scratch import make_scratch, remove_scratch

HOLDER = (
    "import sys, time; from canaryctl.ansible.scratch import make_scratch; "
    "print(make_scratch(sys.argv[1]), flush=True); time.sleep(60)"
)


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_lives_stays(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    theirs = Path(holder.stdout.readline().strip())
    (theirs / "secrets.env").write_text("A=b")
    other = tmp_path / "canaryctl-of-somebody"
    other.mkdir()
    mine = make_scratch(str(tmp_path))
    assert theirs.is_dir() and mine.stat().st_mode & 0o777 == 0o700
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    second = make_scratch(str(tmp_path))
    assert not theirs.exists() and mine.is_dir() and other.is_dir()
    remove_scratch(mine)
    remove_scratch(second)
    remove_scratch(second)
    assert list(tmp_path.iterdir()) == [other]

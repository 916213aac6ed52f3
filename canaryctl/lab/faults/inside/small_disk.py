"""Give /opt/canaryctl a file system with nothing left on it: `bytes` or `inodes`. `end` takes it away again.

What was there is there, and what is written meanwhile, where it can be, is kept. What was written to the old place all
the same (by who had a file open) stays, too.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path("/opt/canaryctl")
STATE = Path("/run/canaryctl-fault")
PLACE, BEFORE = STATE / "small", STATE / "before.json"
FILLER = ".filled-by-canaryctl-lab-fault"
Seen = dict[str, list[int | str]]


def main(what: str) -> None:
    if what == "end":
        end()
        return
    if ROOT.is_mount():
        sys.exit(f"{ROOT} is a file system of its own")
    ROOT.mkdir(parents=True, exist_ok=True)
    PLACE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", PLACE], check=True)
    subprocess.run(["cp", "-a", f"{ROOT}/.", PLACE])  # what comes or goes meanwhile is left alone
    BEFORE.write_text(json.dumps(look(PLACE)))  # what was copied, and nothing else, may be taken back
    has = os.statvfs(PLACE)
    if what == "inodes":
        room = f"nr_inodes={has.f_files - has.f_ffree + 16}"
    else:
        room = f"size={(has.f_blocks - has.f_bfree) * has.f_frsize + (256 << 10)}"
    subprocess.run(["mount", "-o", f"remount,{room}", PLACE], check=True)
    fill(what)
    subprocess.run(["mount", "--bind", PLACE, ROOT], check=True)


def fill(what: str) -> None:
    (PLACE / FILLER).mkdir()
    number = 0
    with contextlib.suppress(OSError):
        while True:
            with (PLACE / FILLER / str(number)).open("wb", buffering=0) as file:
                number += 1
                while what == "bytes":
                    file.write(b"x" * 4096)


def look(top: Path) -> Seen:
    """Path below the folder -> [when changed, bytes, where a link points]. A folder changes with what is in it."""
    found: Seen = {}
    for path in top.rglob("*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if path.is_symlink():
                found[str(path.relative_to(top))] = [status.st_mtime_ns, 0, str(path.readlink())]
            elif path.is_dir():
                found[str(path.relative_to(top))] = [0, 0, ""]
            else:
                found[str(path.relative_to(top))] = [status.st_mtime_ns, status.st_size, ""]
    return found


def end() -> None:
    if not PLACE.is_mount():
        return
    if not ROOT.is_mount():  # it never came to be
        subprocess.run(["umount", "--lazy", PLACE], check=True)
        return
    shutil.rmtree(PLACE / FILLER, ignore_errors=True)
    before: Seen = json.loads(BEFORE.read_text())
    while ROOT.is_mount():  # whoever writes from here on writes to the old place
        subprocess.run(["umount", "--lazy", ROOT], check=True)
    after = look(PLACE)
    for path in sorted(after):
        if after[path] != before.get(path):
            copy(PLACE / path, ROOT / path)
    for path in sorted(set(before) - set(after), reverse=True):
        gone = ROOT / path
        with contextlib.suppress(OSError):
            if gone.is_dir() and not gone.is_symlink():
                gone.rmdir()
            else:
                gone.unlink()
    subprocess.run(["umount", "--lazy", PLACE], check=True)
    BEFORE.unlink()


def copy(source: Path, target: Path) -> None:
    status = source.lstat()
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
        shutil.copystat(source, target)
    else:
        fresh = target.with_name(f"{target.name}.back")
        shutil.copy2(source, fresh, follow_symlinks=False)
        fresh.rename(target)
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)


main(sys.argv[1])

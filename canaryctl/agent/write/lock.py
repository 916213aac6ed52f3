"""Take, renew and release locks. All of a request's paths are taken, or none.

Whoever works on a lock holds the kernel's lock on the directory it lies in meanwhile, so that judging a lock expired
and taking its place are one step. A lock appears whole, by rename(2), for those who only read.
"""

from __future__ import annotations

import contextlib
import datetime
import glob
import json
import os
import shutil
import sys
import time
from typing import Any

from canaryctl.agent.read.held import (
    HOLDER_FILE,
    digest_of,
    has_expired,
    mark_of,
    owner_of,
    public,
    read_holder,
    stamped,
)
from canaryctl.agent.read.leftovers import left_in
from canaryctl.agent.write.atomic import write_atomic
from canaryctl.agent.write.turn import turn


def acquire(config: dict[str, Any]) -> dict[str, Any]:
    """Take `paths` for `holder` (with its token); locks that expired or whose mark is in `displace` make way.

    The answer: `holder` is who stands in the way of `path`, None where all was taken. `touched` is when somebody
    changed something beside the first lock before we came, 0 where there was nothing.
    """
    answer: dict[str, Any] = {"holder": None, "path": "", "displaced": [], "touched": 0}
    taken: list[str] = []
    for path in config["paths"]:
        made = missing_above(path) or (read_holder(path) or {}).get("made") or []
        with turn(path):
            if not taken:
                answer["touched"] = os.stat(os.path.dirname(path)).st_mtime if os.listdir(os.path.dirname(path)) else 0
            other = make_way(path, config, answer)
            if other is None:
                put(path, dict(config["holder"], made=made))
                clear_left(path)
                taken.append(path)
                continue
        release({"paths": taken, "token": config["holder"]["token"], "marks": []})
        answer.update(holder=public(other), path=path)
        break
    return answer


def make_way(path: str, config: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any] | None:
    """Who holds `path` and stays; what is displaced goes into the answer."""
    holder = read_holder(path)
    if holder is None:
        return None
    if owner_of(holder) != digest_of(config["holder"]["token"]):
        if not has_expired(holder) and mark_of(holder) not in config["displace"]:
            return holder
        answer["displaced"].append(public(holder))
    remove(path)
    return None


def put(path: str, holder: dict[str, Any]) -> None:
    """Make a lock at `path`, whole by the time that it is seen."""
    now = datetime.datetime.fromtimestamp(int(time.time()), datetime.timezone.utc)
    since = now.isoformat().replace("+00:00", "Z")
    for left in glob.glob(glob.escape(path) + ".new-*"):  # of one who was killed here, or found no room
        shutil.rmtree(left, ignore_errors=True)
    holder = {key: value for key, value in dict(holder, owner=digest_of(holder["token"])).items() if key != "token"}
    temporary = path + ".new-" + mark_of(holder)
    try:
        os.mkdir(temporary)
        write(temporary, stamped(dict(holder, since=since)))
        os.rename(temporary, path)
    except OSError:  # no room, say
        shutil.rmtree(temporary, ignore_errors=True)
        clear_away([holder])
        raise


def clear_left(path: str) -> None:
    """Remove what killed programs of ours left half written in a stack's folder, whose lock is now ours."""
    if os.path.basename(path) != "lock":
        return  # of the whole host, in whose folder others may write
    for left, _ in left_in(os.path.dirname(path)):
        if os.path.isdir(left) and not os.path.islink(left):
            shutil.rmtree(left, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                os.unlink(left)


def write(directory: str, holder: dict[str, Any]) -> None:
    content = json.dumps(holder, sort_keys=True) + "\n"
    write_atomic(os.path.join(directory, HOLDER_FILE), content.encode(), 0o644)


def remove(path: str) -> None:
    """At once for those who look, however long the files take."""
    aside = path + ".gone"
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(path, aside)
    shutil.rmtree(aside, ignore_errors=True)


def renew(config: dict[str, Any]) -> dict[str, Any]:
    """Let `paths` live on. `lost` has those that are not ours any more, with who holds them now."""
    lost: dict[str, Any] = {}
    for path in config["paths"]:
        with turn(path):
            holder = read_holder(path)
            if holder is not None and owner_of(holder) == digest_of(config["token"]):
                write(path, stamped(holder))
            else:
                lost[path] = None if holder is None else public(holder)
    return {"lost": lost}


def release(config: dict[str, Any]) -> dict[str, Any]:
    """Give up those of `paths` that have the token, or a mark of `marks`."""
    released = [release_one(path, config["token"], config["marks"]) for path in config["paths"]]
    gone = [holder for holder in released if holder is not None]
    clear_away(gone)
    return {"released": gone}


def release_one(path: str, token: str, marks: list[str]) -> dict[str, Any] | None:
    if not os.path.isdir(path):
        return None
    with turn(path):
        holder = read_holder(path)
        if holder is None or not (owner_of(holder) == digest_of(token) or mark_of(holder) in marks):
            return None
        remove(path)
        return public(holder)


def clear_away(released: list[dict[str, Any]]) -> None:
    """Remove the directories that were made for locks, unless they are in use by now."""
    made = {directory for holder in released for directory in holder.get("made") or []}
    for directory in sorted(made, key=len, reverse=True):
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def missing_above(path: str) -> list[str]:
    """The directories above `path` that are not there: a lock takes along what was made for it."""
    found = []
    above = os.path.dirname(path)
    while not os.path.exists(above):
        found.append(above)
        above = os.path.dirname(above)
    return found


def show(config: dict[str, Any]) -> dict[str, Any]:
    """Who holds each of `paths`."""
    found = {path: read_holder(path) for path in config["paths"]}
    return {"locks": {path: public(holder) for path, holder in found.items() if holder is not None}}


def free_words(config: dict[str, Any]) -> str:
    """What is free where a lock was to be, for who has to make room there."""
    path = os.path.dirname(config["paths"][0]) if config["paths"] else "/"
    while not os.path.exists(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return f"; {found.f_bavail * found.f_frsize} bytes and {found.f_favail} inodes are free at {path}"


def answer_lock(config: dict[str, Any]) -> None:
    """Do one of the actions here; its answer as one line of JSON, or why no lock can be kept."""
    os.umask(0o022)
    actions = {"acquire": acquire, "renew": renew, "release": release, "show": show}
    try:
        answer = actions[config["action"]](config)
    except OSError as error:
        answer = {"error": str(error) + free_words(config)}
    sys.stdout.write("\n" + json.dumps(dict(answer, agent=1)) + "\n")

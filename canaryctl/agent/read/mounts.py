"""File systems that a stack declares: mounted, of which type, with what room, and whether their sentinel is there.

A network file system whose server is gone blocks whoever asks it: other programs ask, each with its deadline.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from canaryctl.agent.read.processes import Program, find_program
from canaryctl.agent.read.system import read_text

MOUNT_DEADLINE = 5.0  # seconds


def start_mounts(wanted: list[dict[str, Any]]) -> list[tuple[dict[str, Any], Any, Any]]:
    """The questions to each declared mount, all asked at once."""
    stat = find_program("stat")
    asked = []
    for want in wanted:
        room = Program(stat, "-f", "-c", "%a %S", want["path"]) if stat else None
        sentinel = want.get("sentinel")
        mark = Program(stat, "-L", "-c", "%F", os.path.join(want["path"], sentinel)) if stat and sentinel else None
        asked.append((want, room, mark))
    return asked


def about_mounts(asked: list[tuple[dict[str, Any], Any, Any]]) -> list[dict[str, Any]]:
    table = parse_mountinfo(read_text("/proc/self/mountinfo")) if asked else {}
    found = []
    for want, room, mark in asked:
        point, fstype = holder_of(want["path"], table)
        entry = {"path": want["path"], "point": point, "fstype": fstype, "free": None, "sentinel": None, "error": ""}
        if room is None:
            entry["error"] = "there is no stat program"
        else:
            ask_mount(entry, room, mark)
        found.append(entry)
    return found


def ask_mount(entry: dict[str, Any], room: Any, mark: Any) -> None:
    try:
        blocks, size = room.answer(MOUNT_DEADLINE).split()
        entry["free"] = int(blocks) * int(size)
    except (OSError, ValueError) as error:
        entry["error"] = str(error)
    if mark is not None:
        try:
            entry["sentinel"] = bool(mark.answer(MOUNT_DEADLINE))
        except OSError:
            entry["sentinel"] = False


def parse_mountinfo(text: str) -> dict[str, str]:
    """Mount point -> file system type; of several mounts on one point the last, which is the one that is seen."""
    found = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        words = before.split()
        if len(words) > 4 and after:
            found[unescape_mount(words[4])] = after.split()[0]
    return found


def unescape_mount(path: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path


def holder_of(path: str, table: dict[str, str]) -> tuple[str, str]:
    """The mount point that a path lies in and its type: `/` where nothing is mounted on its way."""
    path = os.path.normpath(path)
    while path not in table and path not in ("/", ""):
        path = os.path.dirname(path)
    return path, table.get(path, "")


def answer_mounts(config: dict[str, Any]) -> None:
    """The state of each of `mounts` as one line of JSON, by path."""
    answer = {"agent": 1, "mounts": about_mounts(start_mounts(config["mounts"]))}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")

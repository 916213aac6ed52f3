"""The machine itself: system, memory, disks, listening ports."""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def read_text(path: str) -> str:
    """A file's text. Raises OSError."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def about_os() -> dict[str, str]:
    values = {}
    for line in read_text("/etc/os-release").splitlines():
        key, _, value = line.partition("=")
        values[key] = value.strip().strip("\"'")
    return {
        "id": values.get("ID", ""),
        "version_id": values.get("VERSION_ID", ""),
        "codename": values.get("VERSION_CODENAME", ""),
        "pretty": values.get("PRETTY_NAME", ""),
    }


def about_cpu() -> dict[str, Any]:
    models = [
        line.partition(":")[2].strip() for line in read_text("/proc/cpuinfo").splitlines() if "model name" in line
    ]
    return {"count": len(os.sched_getaffinity(0)), "model": models[0] if models else ""}


def about_memory() -> dict[str, int]:
    values = dict(line.split(":", 1) for line in read_text("/proc/meminfo").splitlines() if ":" in line)

    def size(name: str) -> int:
        return int(values.get(name, "0 kB").split()[0]) * 1024

    return {"total": size("MemTotal"), "available": size("MemAvailable")}


def about_disk(path: str) -> dict[str, Any]:
    """Of the file system that holds `path`, or will: its nearest existing parent counts."""
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    found = os.statvfs(path)
    return {
        "total": found.f_blocks * found.f_frsize,
        "free": found.f_bavail * found.f_frsize,
        "inodes": found.f_files,
        "inodes_free": found.f_favail,
        "read_only": bool(found.f_flag & os.ST_RDONLY),
    }


def about_ports() -> list[dict[str, Any]]:
    """TCP sockets that listen; `pid` is null where we may not see whose they are."""
    listening: dict[str, dict[str, Any]] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not os.path.exists(table):
            continue
        for line in read_text(table).splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                address, _, port = words[1].partition(":")
                listening[words[9]] = {
                    "address": decode_address(address),
                    "port": int(port, 16),
                    "pid": None,
                    "process": "",
                }
    name_owners(listening)
    return sorted(listening.values(), key=lambda entry: (entry["port"], entry["address"]))


def decode_address(text: str) -> str:
    """`0100007F` -> 127.0.0.1: words in the machine's byte order."""
    words = [int(text[i : i + 8], 16) for i in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed)


def name_owners(listening: dict[str, dict[str, Any]]) -> None:
    missing = set(listening)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if not missing:
            return
        directory = "/proc/" + pid + "/fd"
        try:
            links = [os.readlink(directory + "/" + fd) for fd in os.listdir(directory)]
            held = missing & {link[8:-1] for link in links if link.startswith("socket:[")}
            name = read_text("/proc/" + pid + "/comm").strip() if held else ""
        except OSError:
            continue  # it ended meanwhile, or is not ours to look at
        for inode in held:
            listening[inode].update(pid=int(pid), process=name)
        missing -= held


def python_version() -> str:
    return ".".join(map(str, sys.version_info[:3]))

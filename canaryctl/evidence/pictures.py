"""The geometry of a report's pictures, in per cent of their width, so that they fit any screen. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from canaryctl.evidence.words import human_seconds, human_size

Document = Mapping[str, Any]

# In the order of a deploy: the number picks the colour.
STAGES = ("observe", "provision", "push", "render", "migrate", "start", "probe", "collect", "restore", "rollback")
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_TICKS = 8
# A bar or layer narrower than this could not be seen, a label wider than its bar not read.
_NARROWEST, _LABELLED = 0.35, 7.0
_SHELL = re.compile(r"^/bin/sh -c (?:#\(nop\)\s*)?|^\|\d+ .*?/bin/sh -c |^RUN |# buildkit$")


def timeline(document: Document) -> dict[str, Any]:
    """When each stage ran on each host.

    Returns:
        `lanes`: {name, bars}, the probes in one of their own; `ticks` of the axis; `legend`: colours and stages;
        `stages`: their names in order; `cells`: {host: {stage: entry of run.json}}. There are no lanes where the run
        does not say when its stages started.
    """
    began = _epoch(document.get("started"))
    stages = [*document["stages"], *((document.get("rollback") or {}).get("stages") or ())]
    spans = [(row, *_span(began, row)) for row in stages if began is not None and row.get("started")]
    probed = _probed(document, began)
    whole = max([document.get("seconds") or 0.001, *(end for _, _, end in spans), *probed])
    lanes: dict[str, list[dict[str, Any]]] = {}
    for row, start, end in spans:
        lanes.setdefault(row["host"], []).append(_bar(row["name"], row["status"], start, end, whole))
    if probed and lanes:
        lanes["probes"] = [_bar("probe", "", probed[0], probed[1], whole)]
    cells: dict[str, dict[str, Any]] = {}
    for row in stages:
        cells.setdefault(row["host"], {})[row["name"]] = row
    order = {name: place for place, name in enumerate(STAGES)}
    return {
        "lanes": [{"name": name, "bars": bars} for name, bars in lanes.items()],
        "ticks": _ticks(whole),
        "stages": sorted({row["name"]: 0 for row in stages}, key=lambda name: order.get(name, len(order))),
        "legend": sorted({bar["colour"]: bar["stage"] for bars in lanes.values() for bar in bars}.items()),
        "cells": cells,
    }


def image_pictures(document: Document) -> list[dict[str, Any]]:
    """Each image of the release: name, id, tag, size, services, and its layers as parts of the largest image."""
    release = document["release"]
    images = release.get("images") or {}
    layers = {name: [layer for layer in image.get("layers") or () if layer["size"]] for name, image in images.items()}
    sizes = {name: sum(layer["size"] for layer in layers[name]) or image.get("size") or 0
             for name, image in images.items()}  # fmt: skip
    largest = max(sizes.values(), default=0) or 1
    users = release.get("services") or {}
    return [
        {
            "name": name,
            "id": image.get("id", ""),
            "tag": image.get("tag"),
            "source": image.get("source"),
            "size": image.get("size"),
            "services": [service for service, used in users.items() if used == name],
            "parts": _parts(layers[name] or [{"size": sizes[name], "created_by": ""}], largest),
            "layers": sorted(
                ({**layer, "created_by": readable(layer.get("created_by") or "")} for layer in layers[name]),
                key=lambda layer: -layer["size"],
            ),
        }
        for name, image in images.items()
    ]


def shares(values: Iterable[float | None]) -> list[float]:
    """Each value in per cent of the largest; 0 for what is not known."""
    known = [value or 0 for value in values]
    largest = max(known, default=0) or 1
    return [_round(value / largest * 100) for value in known]


def readable(created_by: str) -> str:
    """The instruction that made a layer, without the builder's own words."""
    return " ".join(_SHELL.sub("", created_by.strip()).split())


def _span(began: float | None, row: Mapping[str, Any]) -> tuple[float, float]:
    """From when until when a stage ran, seconds after the run's start."""
    started = _epoch(row["started"])
    start = max(started - began, 0.0) if started is not None and began is not None else 0.0
    return start, start + row["seconds"]


def _probed(document: Document, began: float | None) -> list[float]:
    """From when until when probes ran, seconds after the start; empty where none did."""
    times = [_epoch(document.get(key)) for key in ("probed_from", "probed_until")]
    if began is None or times[0] is None or times[1] is None:
        return []
    return [times[0] - began, times[1] - began]


def _bar(stage: str, status: str, start: float, end: float, whole: float) -> dict[str, Any]:
    width = (end - start) / whole * 100
    text = f"{stage} {status}".strip()
    return {
        "stage": stage,
        "status": status,
        "colour": STAGES.index(stage) if stage in STAGES else len(STAGES),
        "left": _round(min(start / whole * 100, 100 - _NARROWEST)),
        "width": _round(max(width, _NARROWEST)),
        "label": stage if width >= _LABELLED else "",
        "wide": width >= 3 * _LABELLED,
        "title": f"{text}: {human_seconds(end - start)}, from {human_seconds(start)}",
    }


def _ticks(whole: float) -> list[dict[str, Any]]:
    step = next((step for step in _STEPS if whole / step <= _TICKS), _STEPS[-1])
    return [
        {"left": _round(n * step / whole * 100), "text": "0" if not n else _tick(n * step)}
        for n in range(int(whole / step) + 1)
    ]


def _tick(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min" + (f" {rest:02} s" if rest else "")


def _parts(layers: list[Mapping[str, Any]], largest: float) -> list[dict[str, Any]]:
    """Layers side by side; those too thin to be seen join the one before."""
    parts: list[dict[str, Any]] = []
    left = 0.0
    for layer in layers:
        width = layer["size"] / largest * 100
        title = f"{human_size(layer['size'])} {readable(layer.get('created_by') or '')[:200]}".strip()
        if width < _NARROWEST and parts:
            parts[-1]["width"] = _round(parts[-1]["width"] + width)
        else:
            parts.append({"left": _round(left), "width": _round(width), "title": title, "shade": len(parts) % 3})
        left += width
    return parts


def _round(value: float) -> float:
    return round(value, 2)


def _epoch(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None

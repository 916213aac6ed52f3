"""The shape of what the gpu check in a container answers: an image's own Python printed it, and may print anything.

Standard library only, for it also runs where nothing of canaryctl is installed (scripts/gpu-acceptance).
"""

from __future__ import annotations

import json
import math
from typing import Any

LONGEST = 4096  # characters of a text in an answer
MOST = 256  # entries of a list or of a mapping

_TEXT, _OPTIONAL_TEXT, _WHOLE, _NUMBER, _TRUTH = (
    "a text",
    "a text or null",
    "a whole number",
    "a number",
    "a truth value",
)
_DEVICE = {"index": _WHOLE, "name": _TEXT, "address": _TEXT}
_COPIED = {"error": _TEXT, "equal": _TRUTH, "copy_gb_s": _NUMBER}
_PRODUCT = {"device": _TEXT, "equal": _TRUTH, "error": _NUMBER, "product_gflop_s": _NUMBER}


def read_gpu_answer(text: str) -> dict[str, Any]:
    """The answer of answer_gpu_check, each part of the type that it has there.

    Raises:
        ValueError: it is none, in words that follow "the answer".
    """
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError("is no JSON") from None
    _need(isinstance(found, dict), "is no object")
    _fields(found, {"python": _TEXT}, {}, "")
    _need(bool(found["python"]), "names no Python")
    _texts(found.get("environment"), "environment")
    nodes = found.get("nodes")
    _need(isinstance(nodes, list) and len(nodes) <= MOST and all(map(_is_text, nodes)), "has no list of texts as nodes")
    _libcuda(_part(found, "libcuda"))
    _smi(_part(found, "smi"))
    if "torch" in found:
        _torch(_part(found, "torch"))
    if "cpu" in found:
        cpu = _part(found, "cpu")
        _fields(cpu, {"error": _TEXT} if "error" in cpu else {"equal": _TRUTH}, {}, "cpu.")
    return dict(found)


def _libcuda(part: dict[str, Any]) -> None:
    if "error" in part:
        _fields(part, {"error": _TEXT}, {"kind": _TEXT}, "libcuda.")
        return
    for device in _list(part, "devices", "libcuda."):
        _fields(device, _DEVICE, _COPIED, "libcuda.devices.")


def _smi(part: dict[str, Any]) -> None:
    if "error" in part:
        _fields(part, {"error": _TEXT}, {}, "smi.")
    elif "gpus" in part:
        for gpu in _list(part, "gpus", "smi."):
            _fields(gpu, {"name": _TEXT, "uuid": _TEXT}, {}, "smi.gpus.")
    else:
        _need(part.get("missing") is True, "does not say what nvidia-smi told")


def _torch(part: dict[str, Any]) -> None:
    if part.get("missing") is True:
        return
    if "error" in part:
        _fields(part, {"error": _TEXT}, {}, "torch.")
        return
    _fields(part, {"version": _TEXT, "cuda": _OPTIONAL_TEXT}, {}, "torch.")
    products = _list(part, "devices", "torch.") + ([_part(part, "cpu")] if "cpu" in part else [])
    for one in products:
        if "error" in one and "equal" not in one:
            _fields(one, {"error": _TEXT}, {}, "torch.devices.")
        else:
            _fields(one, _PRODUCT, {}, "torch.devices.")


def _part(holder: dict[str, Any], name: str) -> dict[str, Any]:
    part = holder.get(name)
    _need(isinstance(part, dict), "has no object " + name)
    return dict(part or {})


def _list(holder: dict[str, Any], name: str, prefix: str) -> list[dict[str, Any]]:
    found = holder.get(name)
    whole = isinstance(found, list) and len(found) <= MOST and all(isinstance(one, dict) for one in found)
    _need(whole, "has no list of objects " + prefix + name)
    return list(found or [])


def _texts(found: Any, name: str) -> None:
    whole = isinstance(found, dict) and len(found) <= MOST and all(map(_is_text, found.values()))
    _need(whole, "has no texts by name as " + name)


def _fields(found: dict[str, Any], needed: dict[str, str], more: dict[str, str], prefix: str) -> None:
    given = {name: kind for name, kind in more.items() if name in found}
    for name, kind in list(needed.items()) + list(given.items()):
        _need(_is(kind, found.get(name)), "has " + prefix + name + " that is not " + kind)


def _is(kind: str, value: Any) -> bool:
    if kind == _TRUTH:
        return isinstance(value, bool)
    if kind == _WHOLE:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    if kind == _NUMBER:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and abs(value) < 1e15 and math.isfinite(value)
    return _is_text(value) or (kind == _OPTIONAL_TEXT and value is None)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _refuse(name: str) -> Any:
    raise ValueError(name)

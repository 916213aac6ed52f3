"""Sizes as people write them: `700MB` (decimal), `2GiB` (binary), or bare bytes."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def parse_size(text: str | int) -> int:
    """Bytes of a size such as `700MB` (decimal) or `2GiB` (binary); a bare number is bytes.

    Raises:
        ValueError: not a size.
    """
    found = re.fullmatch(
        r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([A-Za-z]{0,3})\s*", text if isinstance(text, str) else str(text)[:100]
    )
    if not found or found[2].upper() not in _UNITS:
        raise ValueError(f"'{str(text)[:100]}' is not a size; write for example 700MB or 2GiB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def show_size(size: int) -> str:
    """Bytes as people read them.

    >>> show_size(512), show_size(197_000_000), show_size(1_320_000_000)
    ('512 B', '197 MB', '1.32 GB')
    """
    for unit, worth in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= worth:
            return f"{size / worth:.2f} GB" if unit == "GB" else f"{size / worth:.0f} {unit}"
    return f"{size} B"


Size = Annotated[int, BeforeValidator(parse_size)]

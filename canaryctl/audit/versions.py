"""Versions as numbers."""

from __future__ import annotations

import re


def version_tuple(text: str) -> tuple[int, ...]:
    """The leading numbers of a version.

    >>> version_tuple("v26.1.5+dfsg1"), version_tuple("22.04")
    ((26, 1, 5), (22, 4))
    """
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()

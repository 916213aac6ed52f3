"""Versions as programs name them, to compare by."""

from __future__ import annotations

import re

from packaging.version import Version

# Distributions add what is no version anywhere (`24.0.7-0ubuntu2`); a longer number is none.
_NUMBERS = re.compile(r"\d{1,9}(?:\.\d{1,9}){0,9}")


def version_of(text: str) -> Version:
    """The first numbers of a version; 0 where there is none.

    >>> version_of("v26.1.5+dfsg1"), version_of("22.04") == version_of("22.4.0")
    (<Version('26.1.5')>, True)
    """
    found = _NUMBERS.search(text)
    return Version(found[0] if found else "0")

"""Search with a regular expression that others wrote, in a text that others wrote: in a process that can be ended.

Python's matcher may take for ever on a short text, and lets no other thread run meanwhile: no deadline would hold.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

LONGEST = 5.0  # seconds
# What takes no time on any text has none of these: repetitions, and more than three choices.
_SLOW = re.compile(r"[*+{]|[?|].*[?|].*[?|].*[?|]", re.DOTALL)
_PROGRAM = """
import json, re, sys
pattern, text, flags, whole = json.load(sys.stdin)
sys.exit(0 if getattr(re, "fullmatch" if whole else "search")(pattern, text, flags) else 3)
"""


def matches(pattern: str, text: str, *, flags: int = 0, whole: bool = False) -> bool:
    """Whether a pattern is found in a text, or with `whole` matches all of it.

    Raises:
        re.error: it is no pattern.
        TimeoutError: that could not be told within LONGEST.
    """
    compiled = re.compile(pattern, flags)
    if not _SLOW.search(pattern):
        return bool(compiled.fullmatch(text) if whole else compiled.search(text))
    asked = json.dumps([pattern, text, flags, whole]).encode()
    try:
        done = subprocess.run(
            [sys.executable, "-IS", "-c", _PROGRAM], input=asked, capture_output=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"/{pattern}/ did not come to an end within {LONGEST:g} s") from None
    if done.returncode not in (0, 3):
        raise TimeoutError(f"/{pattern}/ could not be looked for (exit code {done.returncode})")
    return done.returncode == 0

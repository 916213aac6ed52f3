"""What every fuzz target shares: documents and texts gone wrong, and the one rule that all parsers keep.

A target is a test made by `fuzzed`: whatever its parser is given, it returns or raises an error of ours with a place.
`make test` runs each with a fixed seed and few inputs; `make fuzz` (scripts/fuzz) runs them for FUZZ_SECONDS in all.
"""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canaryctl.errors import CanaryError

settings.register_profile(
    "canaryctl",
    derandomize="FUZZ_RANDOM" not in os.environ,  # scripts/fuzz gives each round a seed
    database=None,
    deadline=None,
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
settings.load_profile("canaryctl")

LOOKUP = "x{{ lookup('pipe', 'touch /nonexistent/fuzz') }}"
# What broke a parser once, or is known to break some.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 5, 2**63, -(2**70), 10**400, 0.5, -0.0, 1e308, float("inf"), float("-inf"),
    float("nan"), "", " ", "0", "-1", "x", "²", "\x00", "\n", "a\nb", "\x1b[31m", "\x9b1m", "\ud800", "\u202e",
    "..", "../..", "/etc/passwd", "-o", "--rm", "a" * 300, "9" * 400, LOOKUP, "{% raw %}", "${HOME}", "$(id)",
    "`id`", "sha256:", "sha256:" + "0" * 64, "2099-01-01T00:00:00Z", "0000-00-00", "NaN", "1e999", "http://[",
    "https://" + "a" * 64 + ".x/", "data:,x", "ftp://x/", [], [None], [[]], [1], ["x"], {}, {"": ""}, {"x": 1},
    {"id": []}, {"name": {}}, [{}], [[[[[[]]]]]],
)  # fmt: skip
TOKENS = (
    "\x00", "\n", "\r\n", "\t", " ", "'", '"', "`", "\\", "{", "}", "[", "]", "(", ")", ":", ",", "-", "=", "&a ",
    "*a ", "<<: ", "!!int ", "!!timestamp ", "!!binary ", "!!python/name:os.system ", "!unsafe ", "? ", "|", ">",
    "#", "%", "@", "~", "null", "true", "1e999", "-inf", ".nan", "0x", "²", "\ud800", "\x1b]0;x\x07", "\x9b",
    "\u2028", "{{ x }}", "{% for i in range(9**9) %}", "${X:-", "9" * 400, "a" * 5000, "sha256:", "../", "//",
    "http://",
)  # fmt: skip


def fuzzed(strategy: st.SearchStrategy[Any], *, allowed: tuple[type[Exception], ...] = ()) -> Callable[[Any], Any]:
    """Make a test of a function of one input, drawn from `strategy`.

    Args:
        allowed: exceptions beside CanaryError that the parser documents; programs for hosts have no CanaryError.
    """

    def decorate(function: Callable[[Any], object]) -> Any:
        # No signature of the wrapped function: hypothesis would take pytest's fixtures for its arguments.
        @functools.wraps(function)
        def check(value: Any) -> None:
            check.inputs += 1  # type: ignore[attr-defined]
            try:
                function(value)
            except CanaryError as error:
                assert error.where, f"an error without a place: {error.what}"
            except allowed:
                pass

        del check.__wrapped__  # or hypothesis would want its argument named alike
        check.inputs = 0  # type: ignore[attr-defined]
        test = given(strategy)(check)
        test.fuzzed_inputs = lambda: check.inputs  # type: ignore[attr-defined]
        return test

    return decorate


def mutations(seed: Any, *, most: int = 4) -> st.SearchStrategy[Any]:
    """JSON-like documents that differ from `seed` in up to `most` places: odd, gone, moved, repeated, renamed."""
    paths = list(_paths(seed))
    step = st.tuples(
        st.sampled_from(paths),
        st.sampled_from(("odd", "odd", "odd", "gone", "moved", "repeated", "renamed", "added")),
        st.sampled_from(ODD),
        st.sampled_from(paths),
    )

    def apply(steps: list[tuple[Any, str, Any, Any]]) -> Any:
        document = copy.deepcopy(seed)
        for path, what, odd, other in steps:
            document = _changed(document, path, what, odd, other)
        return document

    return st.lists(step, min_size=1, max_size=most).map(apply)


def texts(*seeds: str, most: int = 4) -> st.SearchStrategy[str]:
    """Texts that differ from one of `seeds` in up to `most` places, and now and then any text at all."""

    def apply(drawn: tuple[str, list[tuple[int, int, str, str]]]) -> str:
        text, steps = drawn
        for at, length, token, what in steps:
            place = at % (len(text) + 1)
            end = min(place + length, len(text))
            if what == "insert":
                text = text[:place] + token + text[place:]
            elif what == "replace":
                text = text[:place] + token + text[end:]
            elif what == "delete":
                text = text[:place] + text[end:]
            else:
                text = text[:end] + text[place:end] * 3 + text[end:]
        return text

    step = st.tuples(
        st.integers(0, max(map(len, seeds), default=0)),
        st.integers(1, 40),
        st.sampled_from(TOKENS),
        st.sampled_from(("insert", "insert", "replace", "delete", "repeat")),
    )
    near = st.tuples(st.sampled_from(seeds), st.lists(step, min_size=1, max_size=most)).map(apply)
    return st.one_of(near, near, near, st.text(max_size=200)) if seeds else st.text(max_size=200)


def every_string(document: Any, put: str) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Each (path, copy of `document`) in which one string, a mapping's key included, is `put`."""
    for path in _paths(document):
        value = _at(document, path)
        if isinstance(value, str):
            yield path, _changed(copy.deepcopy(document), path, "odd", put, ())
        if isinstance(value, dict):
            for key in value:
                if isinstance(key, str):
                    yield (*path, key, "(key)"), _changed(copy.deepcopy(document), (*path, key), "renamed", put, ())


def _paths(document: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield prefix
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _paths(value, (*prefix, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from _paths(value, (*prefix, index))


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def _changed(document: Any, path: tuple[Any, ...], what: str, odd: Any, other: tuple[Any, ...]) -> Any:
    """The document with one place changed; unchanged where an earlier change took the place away."""
    try:
        value = copy.deepcopy(_at(document, other)) if what == "moved" else copy.deepcopy(odd)
        if not path:
            return value if what in ("odd", "moved") else document
        holder, key = _at(document, path[:-1]), path[-1]
        if what in ("odd", "moved"):
            holder[key] = value
        elif what == "gone":
            del holder[key]
        elif what == "repeated" and isinstance(holder, list):
            holder.extend([copy.deepcopy(holder[key])] * 3)
        elif what == "renamed" and isinstance(holder, dict) and isinstance(odd, str | int | None):
            holder[odd] = holder.pop(key)
        elif what == "added" and isinstance(holder, dict):
            holder[str(odd)[:50]] = value
    except (KeyError, IndexError, TypeError):
        pass
    return document

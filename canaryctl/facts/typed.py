"""Dataclasses from a host's JSON, every field checked for its type and its size: what a host says is not believed.

Null and missing take the default, unknown keys are ignored: an older or a newer agent still reads.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from canaryctl.errors import HostError

F = TypeVar("F")
Reader = Callable[[Any, str], Any]

LONGEST = 4000  # characters of a text whose field does not say how long it may be: `field(metadata=longest(n))`
MOST = 20_000  # entries of a list or an object
# Numbers with a fraction are seconds: since 1970 they are dates of the years 1 to 9999, which have a name.
EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0


class Unbelievable(ValueError):  # noqa: N818  says what the answer is
    """An answer that no agent of ours gives; `where` is the field."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where or 'the document'} {why}")
        self.where = where


@contextmanager
def believing(host: str) -> Iterator[None]:
    """Around reading a host's answer: what cannot be believed of it is the host's failure.

    Raises:
        HostError: names the host and the field.
    """
    try:
        yield
    except Unbelievable as error:
        raise HostError(
            f"its answer cannot be believed: {printable(error, 200)}",
            host,
            "Look at what runs there: a healthy host does not answer so. Leave it out with --limit meanwhile.",
            reason="agent",
        ) from None


def printable(value: object, most: int = 60) -> str:
    """A value in an error or a note: short, and nothing in it that a terminal would obey."""
    text = "".join(c if c.isprintable() else "?" for c in str(value)[: most + 1])
    return text if len(text) <= most else text[: most - 3] + "..."


def longest(characters: int) -> dict[str, int]:
    """Metadata of a dataclass field: its text, or each of its texts, may have this length."""
    return {"longest": characters}


def one(kind: type[F], values: Any, where: str = "") -> F:
    """A dataclass from the keys it knows; lists become tuples, objects the dataclasses that the fields name.

    Args:
        where: what the values are in the whole document, for the error.

    Raises:
        Unbelievable: a value has not its field's type, or is too large.
    """
    if isinstance(values, kind):
        return values
    known = section(values, where)
    read = {}
    for name, reader in _readers(cast(Any, kind)).items():
        if (value := known.get(name)) is not None:
            read[name] = reader(value, f"{where}.{name}" if where else name)
    return kind(**read)


def many(kind: type[F], entries: Any, where: str = "") -> tuple[F, ...]:
    """One dataclass an entry. Raises as `one`."""
    return tuple(one(kind, entry, f"{where}[{index}]") for index, entry in enumerate(listed(entries, where)))


def section(values: Any, where: str) -> Mapping[str, Any]:
    """An object; empty where there is none. Raises Unbelievable where it is something else."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise Unbelievable(where, "is no object")
    if len(values) > MOST:
        raise Unbelievable(where, f"has more than {MOST} entries")
    return values


def listed(values: Any, where: str) -> Iterable[Any]:
    """A list; empty where there is none. Raises Unbelievable where it is something else."""
    if values is None:
        return ()
    if not isinstance(values, (list, tuple)):
        raise Unbelievable(where, "is no list")
    if len(values) > MOST:
        raise Unbelievable(where, f"has more than {MOST} entries")
    return values


@cache
def _readers(kind: Any) -> dict[str, Reader]:
    hints = get_type_hints(kind)
    return {f.name: _reader(hints[f.name], f.metadata.get("longest", LONGEST)) for f in fields(kind)}


def _reader(hint: Any, length: int) -> Reader:
    """What reads a value of a type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = _reader(next(argument for argument in arguments if argument is not types.NoneType), length)
        return lambda value, where: None if value is None else inner(value, where)
    if origin is Literal:
        return lambda value, where: value if value in arguments else _refuse(where, f"is none of {arguments}")
    if origin is tuple:
        entry = _reader(arguments[0], length)
        return lambda value, where: tuple(entry(x, f"{where}[{i}]") for i, x in enumerate(listed(value, where)))
    if origin is dict:
        keyed = _reader(arguments[1], length)
        return lambda value, where: {
            _text(k, where, LONGEST): keyed(x, f"{where}.{k}") for k, x in section(value, where).items()
        }
    if is_dataclass(hint):
        return lambda value, where: one(cast(type[Any], hint), value, where)
    if hint is str:
        return lambda value, where: _text(value, where, length)
    return _PLAIN[hint]


def _text(value: Any, where: str, length: int) -> str:
    if not isinstance(value, str):
        _refuse(where, "is no text")
    if len(value) > length:
        _refuse(where, f"is longer than {length} characters")
    return cast(str, value)


def _flag(value: Any, where: str) -> Any:
    return value if isinstance(value, bool) else _refuse(where, "is neither true nor false")


def _integer(value: Any, where: str) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64:
        return value
    return _refuse(where, "is no whole number, or too large")


def is_time(value: Any) -> bool:
    """Whether it is seconds: of a time since 1970, or between two."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and EARLIEST <= value <= LATEST  # which NaN is not


def _seconds(value: Any, where: str) -> Any:
    return value if is_time(value) else _refuse(where, "is no number of seconds")


def _refuse(where: str, why: str) -> Any:
    raise Unbelievable(where, why)


_PLAIN: dict[Any, Reader] = {bool: _flag, int: _integer, float: _seconds, Any: lambda value, _where: value}

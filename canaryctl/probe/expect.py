"""Expectations against answers: pure functions that say in words what does not hold."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from canaryctl.config.patterns import matches
from canaryctl.config.probes import HttpExpect, Regex, Text
from canaryctl.config.probes.exec import ExecExpect
from canaryctl.facts.jsontext import parse_json
from canaryctl.probe.results import Unusable

MAX_READ = 1024 * 1024  # bytes of a body or output that are read at all


class Shapeless(Exception):  # noqa: N818
    """A body is no JSON, or has not the shape an expression needs; says what it is instead."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, or a command's output (`status` is then its exit code). `body` holds at most MAX_READ bytes."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    truncated: bool = False

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    @cached_property
    def json(self) -> Any:
        """The body as JSON.

        Raises:
            Shapeless: it is none.
        """
        if self.truncated:
            raise Shapeless(f"answer is larger than {MAX_READ // 1024} KiB and was not read further")
        try:
            return parse_json(self.body)
        except ValueError:
            kind = str(self.headers.get("content-type", "")).split(";")[0].strip() or "no content type"
            raise Shapeless(f"answer is not JSON: {kind if self.headers else 'text'}, {start(self.text)}") from None

    def find(self, expression: str) -> Any:
        """The value of a JMESPath in the JSON body.

        Raises:
            Shapeless: the body is no JSON, or not of the shape the expression needs.
            Unusable: the expression does not compile.
        """
        return search(expression, self.json)


def search(expression: str, data: Any) -> Any:
    """The value of a JMESPath; raises like `Answer.find`."""
    try:
        compiled = jmespath.compile(expression)
    except (JMESPathError, RecursionError, ValueError) as error:
        raise Unusable(f"bad JMESPath '{expression}': {' '.join(str(error).split())}") from None
    try:
        return compiled.search(data)
    except (JMESPathError, RecursionError, TypeError, ValueError, ArithmeticError) as error:
        raise Shapeless(f"'{expression}' does not fit the answer: {' '.join(str(error).split())}") from None


def is_true(value: Any) -> bool:
    """Truth as JMESPath has it: false, null and what is empty are not; 0 is."""
    return not (value is None or value is False or value == "" or value == [] or value == {})


def start(text: str, length: int = 120) -> str:
    """The beginning of a text on one line, quoted, for a reason."""
    line = " ".join(text[: length * 4].split())
    if not line:
        return "empty"
    return f"'{line[:length]}...'" if len(line) > length or len(text) > length * 4 else f"'{line}'"


def show(value: Any) -> str:
    """A value in a reason."""
    return start(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str), 80)


def http_faults(expect: HttpExpect, answer: Answer) -> list[str]:
    """What of `expect` does not hold; empty when all does. An unexpected status hides what follows from it."""
    if fault := _status_fault(expect, answer):
        return [fault]
    faults = json_faults(expect.jmespath, answer)
    if expect.body is not None and (fault := _text_fault("body", expect.body, answer.text, answer.truncated)):
        faults.append(fault)
    for name, wanted in expect.headers.items():
        given = next((value for key, value in answer.headers.items() if key.lower() == name.lower()), None)
        if given is None:
            faults.append(f"header {name} is missing")
        elif fault := _text_fault(f"header {name}", wanted, given):
            faults.append(fault)
    return faults


def exec_faults(expect: ExecExpect, answer: Answer, complaint: str) -> list[str]:
    """What a command did not do as expected; `complaint` is its standard error."""
    if answer.status != expect.exit:
        output = complaint.strip() or answer.text.strip()
        tail = f": {start(output[-400:], 200)}" if output else ", and it printed nothing"
        return [f"exit code {answer.status}, expected {expect.exit}{tail}"]
    faults = json_faults(expect.jmespath, answer)
    if expect.stdout is not None and (fault := _text_fault("output", expect.stdout, answer.text, answer.truncated)):
        faults.append(fault)
    return faults


def saved_from(save: Mapping[str, str], answer: Answer) -> dict[str, Any]:
    """The values to keep.

    Raises:
        Shapeless: one of them is not there.
    """
    found = {}
    for name, expression in save.items():
        value = answer.find(expression)
        if value is None:
            raise Shapeless(f"'{expression}' (to save as '{name}') is not in the answer {start(answer.text)}")
        found[name] = value
    return found


def _status_fault(expect: HttpExpect, answer: Answer) -> str:
    good = answer.status in expect.status if expect.status else 200 <= answer.status < 300
    if good:
        return ""
    wanted = " or ".join(map(str, expect.status)) or "2xx"
    to = f", redirects to {answer.headers['location']}" if "location" in answer.headers else ""
    body = f": {start(answer.text)}" if answer.body else ""
    return f"status {answer.status}, expected {wanted}{to}{body}"


def json_faults(expressions: tuple[str, ...], answer: Answer) -> list[str]:
    """The expressions that are not true of an answer's JSON."""
    faults = []
    for expression in expressions:
        try:
            value = answer.find(expression)
        except Shapeless as error:
            faults.append(str(error))
            continue
        if not is_true(value):
            faults.append(f"not true: {expression} (gives {show(value)}; the answer is {start(answer.text)})")
    # Three expressions over a page of HTML are one fault.
    return list(dict.fromkeys(faults))


def _text_fault(what: str, wanted: Text, text: str, truncated: bool = False) -> str:
    if isinstance(wanted, Regex):
        try:
            found = matches(wanted.regex, text, flags=re.MULTILINE)
        except re.error as error:
            raise Unusable(f"bad regular expression '{wanted.regex}': {error}") from None
        except TimeoutError as error:
            return f"{what} cannot be judged: {error}"
        shown = f"/{wanted.regex}/"
    else:
        found, shown = wanted in text, f"'{wanted}'"
    if found:
        return ""
    cut = f" in its first {MAX_READ // 1024} KiB" if truncated else ""
    return f"{what} does not hold {shown}{cut}: {start(text)}"

"""probes.yml: what a release must answer to be believed. One model a kind, told apart by `kind`."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    model_validator,
)

from canaryctl.config.durations import Duration
from canaryctl.config.yamlfile import Document, load_yaml, shown, validate
from canaryctl.errors import ConfigError


def is_template(text: str) -> bool:
    """Whether a string is to be rendered before it is used."""
    return "{{" in text or "{%" in text


def _jmespath(text: str) -> str:
    if not is_template(text):
        try:
            jmespath.compile(text)
        except JMESPathError as error:
            raise ValueError(f"bad JMESPath '{text}': {' '.join(str(error).split())}") from None
    return text


def _regex(text: str) -> str:
    if not is_template(text):
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"bad regular expression '{text}': {error}") from None
    return text


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, (str, int)) and not isinstance(value, bool) else value


JmesPath = Annotated[str, AfterValidator(_jmespath)]
JmesPaths = Annotated[tuple[JmesPath, ...], BeforeValidator(_as_tuple)]
Status = Annotated[int, Field(ge=100, le=599)]
Seconds = Annotated[Duration, Field(gt=0)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Regex(_Model):
    """A text condition: the regular expression is found somewhere in the text."""

    regex: Annotated[str, AfterValidator(_regex)]


Text = str | Regex  # a plain string must occur in the text as it is


class HttpExpect(_Model):
    """What an answer must be. `status` defaults to any 2xx; every JMESPath must be true of the JSON body."""

    status: Annotated[tuple[Status, ...], BeforeValidator(_as_tuple)] = ()
    jmespath: JmesPaths = ()
    body: Text | None = None
    headers: dict[str, Text] = {}


class Request(_Model):
    """An HTTP request made from the host the probe runs on. At most one of `json` and `body`."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = {}
    json_body: Annotated[Any, Field(alias="json")] = None
    body: str | None = None

    @model_validator(mode="after")
    def _one_body(self) -> Request:
        if self.json_body is not None and self.body is not None:
            raise ValueError("a request has either 'json' or 'body', not both")
        return self


class Precondition(Request):
    """What must be so for the probe to be able to judge. Not so: inconclusive, with `reason` and the `valid` values."""

    expect: HttpExpect = HttpExpect()
    valid: JmesPath | None = None
    reason: str = "its precondition does not hold"


class Common(_Model):
    """What every probe has. `timeout` bounds one attempt, or one request of a lifecycle.

    `soak` says whether it is repeated during a soak; left out, all but lifecycles are.
    """

    name: Annotated[str, Field(min_length=1, max_length=120)]
    on: str
    needs: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    precondition: Precondition | None = None
    timeout: Seconds = 10.0
    tags: tuple[str, ...] = ()
    soak: bool | None = None
    vars: dict[str, str | int | float | bool] = {}
    _source: tuple[Document, int] | None = PrivateAttr(default=None)

    def source(self, *location: str | int) -> str:
        """`file:line` of the probe, or of a key in it; empty for a probe that comes from no file."""
        return self._source[0].where(self._source[1], *location) if self._source else ""


class Retried(Common):
    """A probe that may be tried again: until its expectations hold or `eventually` has passed."""

    eventually: Duration = 0.0
    every: Seconds = 1.0


class Http(Retried, Request):
    """One request and what its answer must be. Follows at most `redirects` redirects, none by default."""

    kind: Literal["http"]
    redirects: Annotated[int, Field(ge=0, le=20)] = 0
    expect: HttpExpect = HttpExpect()
    save: dict[str, JmesPath] = {}


class Tcp(Retried):
    """A port that accepts connections."""

    kind: Literal["tcp"]
    port: Annotated[int, Field(gt=0, lt=65536)]
    address: str = "{{ address }}"


class ExecExpect(_Model):
    """What a command must do: its exit code, its standard output as text, or as JSON."""

    exit: int = 0
    stdout: Text | None = None
    jmespath: JmesPaths = ()


class Exec(Retried):
    """A command in the service's running container: a string for its shell, or a list of arguments."""

    kind: Literal["exec"]
    command: str | tuple[str, ...]
    expect: ExecExpect = ExecExpect()
    save: dict[str, JmesPath] = {}


class Fresh(_Model):
    """`field` holds a time (RFC 3339 or epoch seconds) at most `within` before the answer."""

    field: JmesPath
    within: Seconds


class Reachable(_Model):
    """Each entry answers 2xx at `path` under the URL it registered in `endpoint_field`."""

    endpoint_field: JmesPath
    path: str = "/"


class Registered(Retried, Request):
    """A list endpoint holds at least so many entries of each kind; `only` says which entries count at all."""

    kind: Literal["registered"]
    at: JmesPath = "@"
    kind_field: JmesPath
    kinds: Annotated[dict[str, Annotated[int, Field(ge=1)]], Field(min_length=1)]
    only: JmesPath | None = None
    fresh: Fresh | None = None
    reachable: Reachable | None = None


class Step(Request):
    """One request of a lifecycle."""

    expect: HttpExpect = HttpExpect()


class Start(Step):
    """Begins the operation. Never retried."""

    method: str = "POST"
    save: dict[str, JmesPath] = {}


class Watch(Request):
    """Asks for the operation's status until `until` is true; `fail` true means it ended badly."""

    until: JmesPath
    fail: JmesPath | None = None
    every: Seconds = 0.25
    timeout: Seconds = 120.0


class Cancel(Step):
    """Ends the operation early: in mode `cancel` as the thing tested, in any mode to clean up after a failure."""

    method: str = "DELETE"


class Confirm(Step):
    """Checks what the lifecycle left behind, for at most `eventually`."""

    eventually: Duration = 0.0
    every: Seconds = 0.25


class Lifecycle(Common):
    """Start, watch until done, then complete or cancel, and confirm."""

    kind: Literal["lifecycle"]
    mode: Literal["complete", "cancel"] = "complete"
    start: Start
    status: Watch
    cancel: Cancel | None = None
    confirm: Confirm | None = None

    @model_validator(mode="after")
    def _can_cancel(self) -> Lifecycle:
        if self.mode == "cancel" and not self.cancel:
            raise ValueError("mode 'cancel' needs a 'cancel' request")
        return self


Probe = Http | Tcp | Exec | Registered | Lifecycle
KINDS = ("http", "tcp", "exec", "registered", "lifecycle")
_ADAPTER: TypeAdapter[tuple[Probe, ...]] = TypeAdapter(tuple[Annotated[Probe, Field(discriminator="kind")], ...])


def saved_names(probe: Probe) -> tuple[str, ...]:
    """The values a probe keeps for the ones that need it."""
    if isinstance(probe, Lifecycle):
        return tuple(probe.start.save)
    return tuple(probe.save) if isinstance(probe, (Http, Exec)) else ()


def needed_by(probe: Probe, probes: Sequence[Probe]) -> set[str]:
    """Names of all probes a probe needs, directly or through others."""
    by_name = {other.name: other for other in probes}
    found: set[str] = set()
    waiting = list(probe.needs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += by_name[name].needs
    return found


def load_probes(path: Path) -> tuple[Probe, ...]:
    """Read a probe file: a list, kept in its order.

    Raises:
        ConfigError: with file and line: unknown kind or key, wrong type, bad JMESPath, `needs` that name no probe or
            go in a circle, a name used twice.
    """
    document = load_yaml(path)
    if not isinstance(document.data, list) or not document.data:
        raise ConfigError("a probe file holds a list of probes", shown(path), "see docs/probes.md")
    # YAML 1.1 reads the bare key `on` as the boolean true.
    items = [_with_on(item) for item in document.data]
    document = dataclasses.replace(document, data=items)
    for index, item in enumerate(items):
        _check_kind(document, index, item)
    probes = validate(_ADAPTER, document)
    for index, probe in enumerate(probes):
        probe._source = (document, index)
    _check_names(probes)
    return probes


def _with_on(item: Any) -> Any:
    return {"on" if key is True else key: value for key, value in item.items()} if isinstance(item, dict) else item


def _check_kind(document: Document, index: int, item: Any) -> None:
    kinds = ", ".join(KINDS)
    if not isinstance(item, dict):
        raise ConfigError(
            "a probe is a mapping with 'name', 'kind' and 'on'", document.where(index), "see docs/probes.md"
        )
    kind = item.get("kind")
    if kind not in KINDS:
        nearest = difflib.get_close_matches(str(kind), KINDS, n=1, cutoff=0.5)
        what = f"probe '{item.get('name', index + 1)}' has " + (f"the unknown kind '{kind}'" if kind else "no kind")
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"kinds: {kinds}"
        raise ConfigError(what, document.where(index, "kind"), hint)


def _check_names(probes: Sequence[Probe]) -> None:
    names = [probe.name for probe in probes]
    for index, probe in enumerate(probes):
        if probe.name in names[:index]:
            raise ConfigError(f"two probes are named '{probe.name}'", probe.source("name"), "rename one of them")
        for place, needed in enumerate(probe.needs):
            if needed not in names:
                nearest = difflib.get_close_matches(needed, names, n=1, cutoff=0.5)
                hint = f"did you mean '{nearest[0]}'?" if nearest else f"probes there are: {', '.join(names)}"
                raise ConfigError(
                    f"'{probe.name}' needs '{needed}', which is no probe", probe.source("needs", place), hint
                )
    for probe in probes:
        if probe.name in needed_by(probe, probes):
            circle = " and ".join(f"'{p.name}'" for p in probes if p.name in needed_by(probe, probes))
            raise ConfigError(f"'needs' goes in a circle: {circle}", probe.source("needs"), "break the circle")

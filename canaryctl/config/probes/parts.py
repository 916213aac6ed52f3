"""What the probe kinds share: expectations, requests, and the keys that every probe has."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from canaryctl.config.durations import Duration
from canaryctl.config.yamlfile import Document


def is_template(text: str) -> bool:
    """Whether a string is to be rendered before it is used."""
    return "{{" in text or "{%" in text


def check_jmespath(text: str) -> str:
    """Refuse what is no JMESPath; templates are judged once they are rendered."""
    if not is_template(text):
        try:
            jmespath.compile(text)
        except (JMESPathError, RecursionError, ValueError) as error:
            raise ValueError(f"bad JMESPath '{text}': {' '.join(str(error).split())}") from None
    return text


def check_regex(text: str) -> str:
    """Refuse what is no regular expression."""
    if not is_template(text):
        try:
            re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"bad regular expression '{text}': {error}") from None
    return text


def as_tuple(value: Any) -> Any:
    """A single value where a list may stand."""
    return (value,) if isinstance(value, (str, int)) and not isinstance(value, bool) else value


Pattern = Annotated[str, AfterValidator(check_regex)]
JmesPath = Annotated[str, AfterValidator(check_jmespath)]
JmesPaths = Annotated[tuple[JmesPath, ...], BeforeValidator(as_tuple)]
Status = Annotated[int, Field(ge=100, le=599)]
Seconds = Annotated[Duration, Field(gt=0)]


class Model(BaseModel):
    """A part of a probe: unknown keys are refused, nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Regex(Model):
    """A text condition: the regular expression is found somewhere in the text."""

    regex: Pattern


Text = str | Regex  # a plain string must occur in the text as it is


class HttpExpect(Model):
    """What an answer must be. `status` defaults to any 2xx; every JMESPath must be true of the JSON body."""

    status: Annotated[tuple[Status, ...], BeforeValidator(as_tuple)] = ()
    jmespath: JmesPaths = ()
    body: Text | None = None
    headers: dict[str, Text] = {}


class Request(Model):
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


def _origin(text: str) -> str:
    """Refuse what is no origin; templates are judged once they are rendered."""
    if is_template(text):
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"'{text}' is no origin; write a URL without a path, for example https://login.example:8443")
    return text


Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(as_tuple)]


class Common(Model):
    """What every probe has. `timeout` bounds one attempt, or one request of a lifecycle.

    `soak` says whether it is repeated during a soak; left out, all but lifecycles are. `on_service`: whether `on` names
    a service, whose container the kind looks at, rather than a group.
    """

    on_service: ClassVar[bool] = False
    name: Annotated[str, Field(min_length=1, max_length=120)]
    on: str
    needs: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    precondition: Precondition | None = None
    timeout: Seconds = 10.0
    tags: tuple[str, ...] = ()
    soak: bool | None = None
    vars: dict[str, str | int | float | bool] = {}
    _source: tuple[Document, int] | None = PrivateAttr(default=None)

    @property
    def saved_names(self) -> tuple[str, ...]:
        """The values it keeps for the ones that need it."""
        return tuple(getattr(self, "save", ()))

    def source(self, *location: str | int) -> str:
        """`file:line` of the probe, or of a key in it; empty for a probe that comes from no file."""
        return self._source[0].where(self._source[1], *location) if self._source else ""


class Retried(Common):
    """A probe that may be tried again: until its expectations hold or `eventually` has passed.

    A pass after more than `retries` failed attempts is flaky; None allows any number.
    """

    eventually: Duration = 0.0
    every: Seconds = 1.0
    retries: Annotated[int, Field(ge=0)] | None = None

"""Kind `logs`: what a service has logged."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from canaryctl.config.durations import parse_duration
from canaryctl.config.probes.parts import Model, Pattern, Retried, as_tuple

ERRORS = (
    r"^Traceback \(most recent call last\):",
    r"\b(ModuleNotFoundError|ImportError): ",
    r"error while loading shared libraries",
)
"""What no log may hold where a `logs` probe says nothing: Python's tracebacks, and imports that fail."""


def _since(value: Any) -> Any:
    if value not in ("deploy", "start"):
        try:
            parse_duration(value)
        except ValueError:
            raise ValueError(f"'{value}' is neither 'deploy', 'start' nor a duration such as 10m") from None
    return value


class LogsExpect(Model):
    """Regular expressions that some line must match (`present`), and those that none may (`absent`)."""

    present: Annotated[tuple[Pattern, ...], BeforeValidator(as_tuple)] = ()
    absent: Annotated[tuple[Pattern, ...], BeforeValidator(as_tuple)] = ()


class Logs(Retried):
    """What the service has logged: since its container was made (`deploy`), since it last started, or for so long."""

    on_service: ClassVar[bool] = True
    kind: Literal["logs"]
    since: Annotated[str, BeforeValidator(_since)] = "deploy"
    expect: LogsExpect = LogsExpect(absent=ERRORS)

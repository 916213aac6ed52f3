"""What an image promises, as the stack file says it."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from canaryctl.config.durations import Duration
from canaryctl.config.sizes import Size

Where = Literal["here", "gpu"]
_MODULE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _module_name(text: str) -> str:
    if not re.fullmatch(_MODULE, text):
        raise ValueError(f"'{text}' is not a Python module: write it as in an import, for example torch or shop.api")
    return text


def _platform(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?", text):
        raise ValueError(f"'{text}' is not a platform; write it as Docker does, for example linux/amd64")
    return text


def _port(value: Any) -> str:
    text = str(value) if "/" in str(value) else f"{value}/tcp"
    number, _, protocol = text.partition("/")
    if not (number.isdecimal() and len(number) < 6 and 0 < int(number) < 65536 and protocol in ("tcp", "udp", "sctp")):
        raise ValueError(f"'{value}' is not a port; write for example 8000 or 53/udp")
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"'{text}' is not a regular expression: {error}") from None
    return text


class Module(_Model):
    """A Python module, and where its import is tried: `gpu` for one that needs a GPU's libraries."""

    name: Annotated[str, AfterValidator(_module_name)]
    where: Where = "here"

    @property
    def check(self) -> str:
        """What reports call it."""
        return f"module {self.name} present"


class Modules(_Model):
    """Python modules that must, or must not, import in the image."""

    present: tuple[Annotated[Module, BeforeValidator(lambda v: {"name": v} if isinstance(v, str) else v)], ...] = ()
    absent: tuple[Annotated[str, AfterValidator(_module_name)], ...] = ()


class Command(_Model):
    """A command that must exit 0 in the image: a shell line, or a list of words for an image without a shell.

    `timeout` is in seconds; without one the contract's counts.
    """

    run: Annotated[str, Field(min_length=1)] | Annotated[tuple[str, ...], Field(min_length=1)]
    where: Where = "here"
    timeout: Annotated[Duration, Field(gt=0)] | None = None

    @property
    def check(self) -> str:
        """What reports call it."""
        return f"command {self.run if isinstance(self.run, str) else shlex.join(self.run)}"


class Pattern(_Model):
    """What a label's whole value must match."""

    regex: Annotated[str, AfterValidator(_pattern)]


class Environment(_Model):
    """Variables that the image must not set, and those that look like credentials but are none."""

    absent: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()


class Contract(_Model):
    """What an image promises. What is left out is not checked.

    `ports` are all that the image exposes, as `8000/tcp`. `memory` bounds each run of the image (bytes), `timeout`
    each import and each command without one of its own (seconds). `python` is the interpreter that imports modules:
    python3, else python, where it is left out.
    """

    modules: Modules = Modules()
    commands: tuple[Annotated[Command, BeforeValidator(lambda v: {"run": v} if isinstance(v, str) else v)], ...] = ()
    platform: Annotated[str, AfterValidator(_platform)] | None = None
    user: Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v)] | None = None
    max_size: Size | None = None
    ports: tuple[Annotated[str, BeforeValidator(_port)], ...] | None = None
    labels: dict[str, str | Pattern] = {}
    env: Environment = Environment()
    python: str | None = None
    memory: Annotated[Size, Field(ge=6_000_000)] = 2_000_000_000
    timeout: Annotated[Duration, Field(gt=0)] = 60.0

    @property
    def needs_gpu(self) -> bool:
        """Whether a part of it can be checked on a host with a GPU alone."""
        return bool(self.gpu_checks)

    @property
    def gpu_checks(self) -> tuple[str, ...]:
        """The checks that need a GPU, as reports name them."""
        modules = (module.check for module in self.modules.present if module.where == "gpu")
        return (*modules, *(command.check for command in self.commands if command.where == "gpu"))

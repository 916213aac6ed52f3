"""stack.yml: the application under test, as its owner describes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from canaryctl.config.contract import Contract
from canaryctl.config.reference import parse_reference
from canaryctl.config.sizes import Size
from canaryctl.config.within import resolve_below
from canaryctl.config.yamlfile import Document, load_yaml, shown, validate
from canaryctl.errors import ConfigError


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", text):
        raise ValueError(f"'{text}' is not a name: use lower-case letters, digits, '_', '.', '-'")
    return text


def _stack_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", text):
        raise ValueError(f"'{text}' is not a stack name: at most 41 lower-case letters, digits, '_', '-'")
    return text


def _secret_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise ValueError(f"'{text}' is not a secret's name: letters, digits and '_', as in an environment variable")
    return text


def _relative(text: str) -> str:
    path = Path(text)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"'{text}' must be a path below the stack file's folder")
    return text


def _published(text: str) -> str:
    parse_reference(text)
    return text


def _local(text: str) -> str:
    # It becomes a word of Docker's command line.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,300}", text):
        raise ValueError(f"'{text}' is no name of an image: write name:tag")
    return text


def _not_absolute(text: str) -> str:
    if Path(text).is_absolute():
        raise ValueError(f"'{text}' must be a path relative to the stack file's folder, within it or its project's")
    return text


def _argument(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", text):
        raise ValueError(f"'{text}' is no name of a build argument: letters, digits and '_'")
    return text


def _version(value: Any) -> Any:
    """A version that YAML may have taken for a number."""
    text = str(value)
    if not re.fullmatch(r"\d+\.\d+", text):
        raise ValueError(f"'{text}' is no version such as \"8.0\": write both numbers, in quotes")
    return text


Name = Annotated[str, AfterValidator(_name)]
Version = Annotated[str, BeforeValidator(_version)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Build(_Model):
    """How an image is built. `dockerfile` is relative to `context`, `context` to the file.

    An argument without a value gets one only from the operator: `canaryctl build --build-arg`.
    """

    context: Annotated[str, AfterValidator(_not_absolute)] = "."
    dockerfile: Annotated[str, AfterValidator(_not_absolute)] = "Dockerfile"
    args: dict[Annotated[str, AfterValidator(_argument)], str | int | float | bool | None] = {}
    target: str | None = None


class Image(_Model):
    """One image: built here (`build` and `tag`), already present (`tag`), or published elsewhere (`ref`).

    `gpu_memory` (bytes in all), `compute_capability` and `cuda` are the least that the GPUs and their driver must have.
    """

    build: Build | None = None
    tag: Annotated[str, AfterValidator(_local)] | None = None
    ref: Annotated[str, AfterValidator(_published)] | None = None
    contract: Contract = Contract()
    gpu: Literal["required", "optional", "none"] = "none"
    gpu_memory: Size | None = None
    compute_capability: Version | None = None
    cuda: Version | None = None

    @model_validator(mode="after")
    def _gpu_only(self) -> Image:
        if self.gpu == "none" and (self.gpu_memory or self.compute_capability or self.cuda):
            raise ValueError("'gpu_memory', 'compute_capability' and 'cuda' need 'gpu: required' or 'gpu: optional'")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Image:
        if not self.tag and not self.ref:
            raise ValueError("an image needs a 'tag' (built here or present) or a 'ref' (published elsewhere)")
        if self.ref and (self.tag or self.build):
            raise ValueError("an image has either a 'ref' or a 'tag', not both")
        return self

    @property
    def reference(self) -> str:
        """The name Docker on the operator's machine knows it by."""
        return self.tag or self.ref or ""


class Mount(_Model):
    """Big data that must be on a host already: checked, never copied."""

    path: str
    fstype: str | None = None
    sentinel: str | None = None
    min_free: Size | None = None
    groups: tuple[str, ...] = ()


class Migrations(_Model):
    """The database migration: commands run in a one-off container of `service`'s image.

    `database` names the services that must run first; `backup`, one of them, is dumped beforehand. `backup_database`
    and `backup_user` say which database and superuser, where its container does not tell. `backward_compatible`: the
    code of the release before runs on the schema that this one migrates to.
    """

    service: Name
    upgrade: str
    current: str
    heads: str | None = None
    database: Annotated[tuple[Name, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)] = ()
    backup: Name | None = None
    backup_database: str = ""
    backup_user: str = ""
    backward_compatible: bool = False
    timeout: Annotated[int, Field(gt=0)] = 300

    @model_validator(mode="after")
    def _backup_named(self) -> Migrations:
        if not self.backup and (self.backup_database or self.backup_user):
            raise ValueError("'backup_database' and 'backup_user' need 'backup', the service that runs the database")
        return self

    @property
    def databases(self) -> tuple[str, ...]:
        """Services that must be healthy before the migration starts."""
        return tuple(dict.fromkeys((*self.database, *((self.backup,) if self.backup else ()))))


class Stack(_Model):
    """The application under test. Build one with `load_stack`.

    `gpu_services` are those that get GPUs; without it, all whose image has `gpu: required` or `gpu: optional`.
    """

    stack: Annotated[str, AfterValidator(_stack_name)]
    images: dict[Name, Image]
    variants: dict[Name, dict[Name, str]]
    default_variant: str | None = None
    placement: dict[str, tuple[Name, ...]]
    optional: tuple[Name, ...] = ()
    gpu_services: tuple[Name, ...] | None = None
    compose: Annotated[str, AfterValidator(_relative)]
    assets: tuple[Annotated[str, AfterValidator(_relative)], ...] = ()
    mounts: tuple[Mount, ...] = ()
    secrets: tuple[Annotated[str, AfterValidator(_secret_name)], ...] = ()
    migrations: Migrations | None = None
    probes: Annotated[str, AfterValidator(_relative)] = "probes.yml"
    start_timeout: Annotated[int, Field(gt=0)] = 180

    _file: Path = PrivateAttr(default=Path())

    @property
    def file(self) -> Path:
        """The stack file."""
        return self._file

    @property
    def directory(self) -> Path:
        """The folder that paths in the stack file are relative to."""
        return self._file.parent

    @property
    def probes_file(self) -> Path:
        """The stack's own probes. Raises ConfigError where that leads out of its folder."""
        return resolve_below(self.directory, self.probes, what="the probe file", where=shown(self.file))

    def choose_variant(self, name: str | None) -> str:
        """The variant asked for, or the default.

        Raises:
            ConfigError: there is no such variant.
        """
        chosen = name or self.default_variant or next(iter(self.variants))
        if chosen not in self.variants:
            raise ConfigError(
                f"no variant '{chosen}'", shown(self.file), f"variants there are: {', '.join(sorted(self.variants))}"
            )
        return chosen


def load_stack(path: Path) -> Stack:
    """Read a stack file and check that its names fit together.

    Raises:
        ConfigError: with file, line and, for a misspelt key, the nearest valid name.
    """
    if path.is_dir():
        path = path / "stack.yml"
    document = load_yaml(path)
    if not isinstance(document.data, dict):
        raise ConfigError("the stack file holds no mapping", document.where(), "see docs/stack.md")
    stack = validate(Stack, document)
    stack._file = path.resolve()
    _check_names(stack, document)
    return stack


def _check_names(stack: Stack, document: Document) -> None:
    for variant, services in stack.variants.items():
        for service, image in services.items():
            if image not in stack.images:
                _reject(document, f"image '{image}' is not defined", stack.images, "variants", variant, service)
    if stack.default_variant is not None and stack.default_variant not in stack.variants:
        _reject(document, f"no variant '{stack.default_variant}'", stack.variants, "default_variant")
    known: dict[str, Any] = {service: None for services in stack.variants.values() for service in services}
    for variant, services in stack.variants.items():
        missing = [service for service in known if service not in services]
        if missing:
            raise ConfigError(
                f"variant '{variant}' gives no image for {', '.join(missing)}",
                document.where("variants", variant),
                "every variant names every service",
            )
    placed: set[str] = set()
    for group, members in stack.placement.items():
        for index, service in enumerate(members):
            if service not in known:
                _reject(document, f"service '{service}' is in no variant", known, "placement", group, index)
            placed.add(service)
    for service in known:
        if service not in placed:
            raise ConfigError(
                f"service '{service}' is placed in no group", document.where("placement"), "add it under 'placement'"
            )
    for index, service in enumerate(stack.optional):
        if service not in known:
            _reject(document, f"service '{service}' is in no variant", known, "optional", index)
    for index, service in enumerate(stack.gpu_services or ()):
        if service not in known:
            _reject(document, f"service '{service}' is in no variant", known, "gpu_services", index)
    if stack.migrations:
        named: dict[str, str | None] = {"service": stack.migrations.service, "backup": stack.migrations.backup}
        for key, name in [*named.items(), *(("database", database) for database in stack.migrations.database)]:
            if name and name not in known:
                _reject(document, f"service '{name}' is in no variant", known, "migrations", key)
    for key, relative in [("compose", stack.compose), *(("assets", asset) for asset in stack.assets)]:
        if not resolve_below(stack.directory, relative, what=f"'{key}'", where=document.where(key)).exists():
            raise ConfigError(f"'{relative}' does not exist", document.where(key), "create it or fix the path")


def _reject(document: Document, what: str, valid: dict[str, Any] | tuple[str, ...], *location: str | int) -> None:
    raise ConfigError(what, document.where(*location), f"there are: {', '.join(sorted(valid))}")

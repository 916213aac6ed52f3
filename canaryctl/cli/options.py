"""Options that commands share: declared once, asked for by name, made into a request."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from canaryctl.cli.output import Output

if TYPE_CHECKING:
    from canaryctl.commands.request import Request


class _Chosen:
    """The `--output` of this process: an error that comes before there is anything to print follows it too."""

    output = Output.TEXT


def chosen_output() -> Output:
    """What `--output` was given as; text as long as it was not read."""
    return _Chosen.output


def choose(output: StrEnum) -> StrEnum:
    """Remember a command's `--output`; what is no Output (Markdown, say) leaves errors as text."""
    _Chosen.output = next((known for known in Output if known == output.value), Output.TEXT)
    return output


def _text(name: str, metavar: str, text: str, *more: str) -> Any:
    return Annotated[str | None, typer.Option(name, *more, metavar=metavar, help=text, show_default=False)]


def _words(name: str, text: str) -> Any:
    return Annotated[list[str] | None, typer.Option(name, metavar="NAME", help=text, show_default=False)]


StackFile = _text("--stack", "FILE", "The stack file.")
VariantName = _text("--variant", "NAME", "Which images serve.")
ChosenImages = Annotated[
    list[str] | None,
    typer.Option(
        "--image", metavar="NAME=REF", help="Another local image in a stack image's place.", show_default=False
    ),
]
OutputMode = Annotated[Output, typer.Option("--output", "-o", callback=choose, help="How to print the answer.")]
RunsDir = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Where runs are kept; default: the project's.")
]


_AnyEnvironment = Annotated[
    str, typer.Argument(metavar="ENV", help="A directory under inventories/; all, if left out.", show_default=False)
]
# What every command on an environment takes, in the order of its help; `takes` adds to it.
_ALWAYS = {
    "environment": (Annotated[str, typer.Argument(metavar="ENV", help="A directory under inventories/.")], ...),
    "stack": (StackFile, None),
    "inventories": (_text("--inventories", "DIR", "Where environments are."), None),
    "limit": (_text("--limit", "PATTERN", "Only these hosts, as in Ansible.", "-l"), None),
    "secret_env": (
        _words("--secret-env", "Take the secret NAME from your environment variable of that name. Repeatable."),
        None,
    ),
    "output": (OutputMode, Output.TEXT),
    "verbose": (Annotated[int, typer.Option("--verbose", "-v", count=True, help="More; -vv: tracebacks.")], 0),
    "vault_password_file": (
        Annotated[Path | None, typer.Option("--vault-password-file", metavar="FILE", show_default=False)],
        None,
    ),
    "ask_become_pass": (
        Annotated[bool, typer.Option("--ask-become-pass", "-K", help="Ask for sudo's password.")],
        False,
    ),
}
_ON_REQUEST = {
    "runs": (_text("--runs", "DIR", "Where evidence goes."), None),
    "probes": (_text("--probes", "FILE", "Other probes than the stack's."), None),
    "only": (_words("--only", "Only the probes of this name or tag, and what they need. Repeatable."), None),
    "skip": (_words("--skip", "Not the probes of this name or tag, nor what needs them. Repeatable."), None),
    "variant": (VariantName, None),
    "image": (ChosenImages, None),
    "check": (Annotated[bool, typer.Option("--check", help="Say what would be done; change nothing.")], False),
    "diff": (Annotated[bool, typer.Option("--diff", help="Show what changes in the compose file.")], False),
    "yes": (Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")], False),
    "allow_docker_restart": (
        Annotated[
            bool, typer.Option("--allow-docker-restart", help="Restart Docker even where containers of others run.")
        ],
        False,
    ),
    "restore_database": (
        Annotated[
            bool,
            typer.Option(
                "--restore-database", help="Going back, restore the database's backup; what was written since is lost."
            ),
        ],
        False,
    ),
    "leave_data": (
        Annotated[
            bool,
            typer.Option("--leave-data", help="Go on where a database would start without the data it had elsewhere."),
        ],
        False,
    ),
    "force": (Annotated[bool, typer.Option("--force", help="Deploy what promotion refuses; needs --reason.")], False),
    "reason": (_text("--reason", "TEXT", "Why, for every report and the history; with --force."), None),
    "no_contract": (
        Annotated[bool, typer.Option("--no-contract", help="Do not check the images' contracts; the report says so.")],
        False,
    ),
    "wait": (
        Annotated[bool, typer.Option("--wait", help="Wait for whoever holds the lock, 30 minutes at most.")],
        False,
    ),
    "break_lock": (
        Annotated[bool, typer.Option("--break-lock", help="Take the place of whoever holds the lock, and say who.")],
        False,
    ),
}


def takes(
    *names: str, output: tuple[Any, StrEnum] | None = None, all_environments: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command on an environment of `body(request, output, **own)`.

    The command takes the options that all such commands take, those named here, and the body's own keyword
    parameters (annotated as typer wants them). `output` replaces `--output`: its annotation and default.
    With `all_environments` the environment may be left out, and is '' then.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(body, localns={"Request": object}, include_extras=True)
        own = [
            parameter.replace(annotation=hints[parameter.name])
            for parameter in inspect.signature(body).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
        ]

        def command(**given: Any) -> None:
            options = {parameter.name: given.pop(parameter.name) for parameter in own}
            output = given.pop("output")
            body(_request(**given), output, **options)

        printing: dict[str, Any] = {"output": output} if output else {}
        printing |= {"environment": (_AnyEnvironment, "")} if all_environments else {}
        shared = _ALWAYS | printing | {name: _ON_REQUEST[name] for name in names}
        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=annotation,
                default=inspect.Parameter.empty if default is ... else default,
            )
            for name, (annotation, default) in shared.items()
        ]
        # After the environment, as `logs ENV SERVICE` reads.
        command.__signature__ = inspect.Signature([parameters[0], *own, *parameters[1:]])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in [*parameters, *own]}
        command.__name__, command.__doc__ = body.__name__, body.__doc__
        return command

    return decorate


def _request(
    *,
    stack: str | None,
    inventories: str | None,
    runs: str | None = None,
    probes: str | None = None,
    image: list[str] | None = None,
    no_contract: bool = False,
    force: bool = False,
    reason: str | None = None,
    verbose: int,
    ask_become_pass: bool,
    **given: Any,
) -> Request:
    """The request that a command's options make. `given` are those that a request has by the same name.

    Raises:
        ConfigError: no project, a malformed --image, or --force without --reason.
    """
    from canaryctl.commands.request import Request, load_project

    given |= {name: tuple(given.get(name) or ()) for name in ("only", "skip", "secret_env")}
    return Request(
        project=load_project(stack=stack, inventories=inventories, runs=runs, probes=probes),
        images=chosen_images(image),
        contracts=not no_contract,
        force_reason=forced_for(force, reason),
        verbosity=verbose,
        become_password=typer.prompt("sudo password", hide_input=True, err=True) if ask_become_pass else None,
        **given,
    )


def forced_for(force: bool, reason: str | None) -> str | None:
    """The reason of --force; None without it.

    Raises:
        ConfigError: one of the two without the other.
    """
    from canaryctl.errors import ConfigError

    words = " ".join((reason or "").split())
    if force and not words:
        raise ConfigError("--force needs a reason, which every report shows", "--force", "add --reason TEXT")
    if reason is not None and not force:
        raise ConfigError("--reason says why --force is right", "--reason", "add --force, or leave --reason out")
    return words or None


def duration(text: str, option: str) -> float:
    """Seconds of an option's duration.

    Raises:
        ConfigError: it is none, or nothing.
    """
    from canaryctl.commands.request import parse_duration
    from canaryctl.errors import ConfigError

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError(str(error), option, f"for example {option} 10m") from None
    if seconds <= 0:
        raise ConfigError("the duration must be above 0", option, f"for example {option} 10m")
    return seconds


def chosen_images(given: list[str] | None) -> dict[str, str]:
    """The images that stand in for the stack's: name to local reference.

    Raises:
        ConfigError: a malformed --image.
    """
    from canaryctl.errors import ConfigError

    images: dict[str, str] = {}
    for choice in given or ():
        name, equals, reference = choice.partition("=")
        if not (name and equals and reference):
            raise ConfigError(f"--image '{choice}' is not NAME=REF", "", "for example --image backend=my-backend:pr-12")
        images[name] = reference
    return images

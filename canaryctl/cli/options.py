"""Options that commands share, and how they become a request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from canaryctl.cli.output import Output

if TYPE_CHECKING:
    from canaryctl.scene import Request

Environment = Annotated[str, typer.Argument(metavar="ENV", help="A directory under inventories/.")]
StackFile = Annotated[str | None, typer.Option("--stack", metavar="FILE", help="The stack file.", show_default=False)]
Inventories = Annotated[
    str | None, typer.Option("--inventories", metavar="DIR", help="Where environments are.", show_default=False)
]
Runs = Annotated[str | None, typer.Option("--runs", metavar="DIR", help="Where evidence goes.", show_default=False)]
Probes = Annotated[
    str | None, typer.Option("--probes", metavar="FILE", help="Other probes than the stack's.", show_default=False)
]
Variant = Annotated[
    str | None, typer.Option("--variant", metavar="NAME", help="Which images serve.", show_default=False)
]
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--image", metavar="NAME=REF", help="Another local image in a stack image's place.", show_default=False
    ),
]
Limit = Annotated[
    str | None,
    typer.Option("--limit", "-l", metavar="PATTERN", help="Only these hosts, as in Ansible.", show_default=False),
]
Check = Annotated[bool, typer.Option("--check", help="Say what would be done; change nothing.")]
Diff = Annotated[bool, typer.Option("--diff", help="Show what changes in the compose file.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class _Chosen:
    """The `--output` of this process: an error that comes before there is anything to print follows it too."""

    output = Output.TEXT


def chosen_output() -> Output:
    """What `--output` was given as; text as long as it was not read."""
    return _Chosen.output


def _choose(output: Output) -> Output:
    _Chosen.output = output
    return output


OutputMode = Annotated[Output, typer.Option("--output", "-o", callback=_choose, help="How to print the answer.")]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="More of Ansible; -vv: tracebacks.")]
VaultPasswordFile = Annotated[
    Path | None, typer.Option("--vault-password-file", metavar="FILE", help="As in Ansible.", show_default=False)
]
AskBecomePass = Annotated[bool, typer.Option("--ask-become-pass", "-K", help="Ask for sudo's password.")]


def request(
    environment: str,
    *,
    stack: str | None = None,
    inventories: str | None = None,
    runs: str | None = None,
    probes: str | None = None,
    variant: str | None = None,
    image: list[str] | None = None,
    limit: str | None = None,
    check: bool = False,
    diff: bool = False,
    yes: bool = False,
    verbose: int = 0,
    vault_password_file: Path | None = None,
    ask_become_pass: bool = False,
) -> Request:
    """The request that a command's options make.

    Raises:
        ConfigError: no project, or a malformed --image.
    """
    from canaryctl.config.project import load_project
    from canaryctl.errors import ConfigError
    from canaryctl.scene import Request

    images: dict[str, str] = {}
    for given in image or ():
        name, equals, reference = given.partition("=")
        if not (name and equals and reference):
            raise ConfigError(f"--image '{given}' is not NAME=REF", "", "for example --image backend=my-backend:pr-12")
        images[name] = reference
    return Request(
        project=load_project(stack=stack, inventories=inventories, runs=runs, probes=probes),
        environment=environment,
        variant=variant,
        images=images,
        limit=limit,
        check=check,
        diff=diff,
        yes=yes,
        verbosity=verbose,
        vault_password_file=vault_password_file,
        become_password=typer.prompt("sudo password", hide_input=True, err=True) if ask_become_pass else None,
    )

"""`canaryctl trust`: pin hosts' keys for an environment after comparing them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, Printer, print_json

if TYPE_CHECKING:
    from canaryctl.scene import Request


@opt.takes("yes")
def trust(
    request: Request,
    output: Output,
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Also keys that differ from known ones.")] = False,
) -> None:
    """Show the keys that hosts present, and pin them for the environment on a yes."""
    from canaryctl import trusting
    from canaryctl.cli.output import print_error
    from canaryctl.config.yamlfile import shown

    answer = trusting.look(request, replace=replace)
    to = Printer(sys.stdout)
    if output is Output.TEXT:
        for line in trusting.lines(answer):
            to.line(line)
        to.stream.flush()
    count = sum(len(host.to_pin) for host in answer.hosts)
    if count:
        _demand_agreement(f"pin {count} keys in {shown(answer.pins)}?", request.yes)
        trusting.pin(answer)
    if output is Output.TEXT:
        to.line(f"{count} keys pinned in {shown(answer.pins)}" if count else "nothing to pin")
    else:
        print_json(trusting.as_dict(answer, pinned=True))
    to.stream.flush()
    for failure in answer.failures:
        print_error(failure)
    raise typer.Exit(max((failure.exit_code for failure in answer.failures), default=0))


def _demand_agreement(question: str, yes: bool) -> None:
    """Ask on a terminal; elsewhere only --yes will do."""
    from canaryctl.errors import ConfigError

    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError("not confirmed, nothing was pinned", "", "pass --yes, or run it on a terminal")
    if not typer.confirm(question, err=True):
        raise ConfigError("not confirmed, nothing was pinned", "", "answer yes, or pass --yes")

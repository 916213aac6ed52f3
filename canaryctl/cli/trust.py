"""`canaryctl trust`: pin hosts' keys for an environment after comparing them, and list who may sign its verdicts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, Printer, field, print_json

if TYPE_CHECKING:
    from canaryctl.commands.request import Request


class _HostsFirst(TyperGroup):
    """`trust ENV` is `trust hosts ENV`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = ["hosts", *args]
        return list(super().parse_args(ctx, args))


app = typer.Typer(
    cls=_HostsFirst,
    no_args_is_help=True,
    help="Believe hosts and signers: `trust ENV` is `trust hosts ENV`.",
)


@opt.takes("yes")
def hosts(
    request: Request,
    output: Output,
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Also keys that differ from known ones.")] = False,
    accept_new: Annotated[
        bool, typer.Option("--accept-new", help="With --yes, also keys that nobody vouches for.")
    ] = False,
) -> None:
    """Show the keys that hosts present, and pin them for the environment on a yes."""
    from canaryctl.cli.output import print_error
    from canaryctl.commands import trust
    from canaryctl.config.yamlfile import shown

    answer = trust.look(request, replace=replace)
    to = Printer(sys.stdout)
    if output is Output.TEXT:
        for line in trust.lines(answer):
            to.line(field(line))
        to.stream.flush()
    count = sum(len(host.to_pin) for host in answer.hosts)
    if count:
        if request.yes and not accept_new:
            trust.require_vouched(answer)
        _demand_agreement(f"pin {count} keys in {shown(answer.pins)}?", request.yes, "nothing was pinned")
        trust.pin(answer)
    if output is Output.TEXT:
        to.line(f"{count} keys pinned in {shown(answer.pins)}" if count else "nothing to pin")
    else:
        print_json(trust.as_dict(answer, pinned=True))
    to.stream.flush()
    for failure in answer.failures:
        print_error(failure)
    raise typer.Exit(max((failure.exit_code for failure in answer.failures), default=0))


@opt.takes("yes")
def signers(
    request: Request,
    output: Output,
    *,
    add: Annotated[
        list[Path] | None, typer.Option("--add", metavar="KEYFILE", help="A public key to add. Repeatable.")
    ] = None,
    me: Annotated[bool, typer.Option("--me", help="Add your own key: the one you sign with.")] = False,
) -> None:
    """Show who may sign the environment's verdicts, and add keys to the list on a yes."""
    from canaryctl.commands import signers as listing
    from canaryctl.config.yamlfile import shown

    found = listing.look(request, add or (), me=me)
    to = Printer(sys.stdout)
    if output is Output.TEXT:
        for line in listing.lines(found):
            to.line(field(line))
        to.stream.flush()
    if found.added:
        _demand_agreement(f"add {len(found.added)} keys to {shown(found.path)}?", request.yes, "nothing was added")
        listing.add(found)
    if output is not Output.TEXT:
        print_json(found.as_dict())
    elif add or me:
        to.line(f"{len(found.added)} keys added to {shown(found.path)}" if found.added else "nothing to add")
    to.stream.flush()


for command in (hosts, signers):
    app.command()(command)


def _demand_agreement(question: str, yes: bool, otherwise: str) -> None:
    """Ask on a terminal; elsewhere only --yes will do."""
    from canaryctl.errors import ConfigError

    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(f"not confirmed, {otherwise}", "", "pass --yes, or run it on a terminal")
    if not typer.confirm(question, err=True):
        raise ConfigError(f"not confirmed, {otherwise}", "", "answer yes, or pass --yes")

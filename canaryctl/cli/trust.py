"""`canaryctl trust`: pin hosts' keys for an environment after comparing them, and list who may sign its verdicts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from canaryctl.cli import options as opt
from canaryctl.cli.ask import require_agreement
from canaryctl.cli.output import Output, Printer, aligned, leave, print_json

if TYPE_CHECKING:
    from canaryctl.commands.request import Request
    from canaryctl.commands.signers import Signers
    from canaryctl.commands.trust import OfferedKeys


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
    from canaryctl.commands import trust

    offer = trust.offered(request, replace=replace)
    to = Printer(sys.stdout)
    if output is Output.TEXT:
        to.lines(key_lines(offer))
    count = sum(len(host.to_pin) for host in offer.hosts)
    if count:
        if request.yes and not accept_new:
            trust.require_vouched(offer)
        require_agreement(f"pin {count} keys in {offer.file}?", request.yes, "nothing was pinned")
        trust.pin(offer)
    if output is Output.TEXT:
        to.lines([f"{count} keys pinned in {offer.file}" if count else "nothing to pin"])
    else:
        print_json(offer.as_dict())
    leave(offer.failures)


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
    from canaryctl.commands import signers

    found = signers.signers(request, add or (), me=me)
    to = Printer(sys.stdout)
    if output is Output.TEXT:
        to.lines(signer_lines(found))
    if found.added:
        require_agreement(f"add {len(found.added)} keys to {found.file}?", request.yes, "nothing was added")
        signers.add(found)
    if output is not Output.TEXT:
        print_json(found.as_dict())
    elif add or me:
        to.lines([f"{len(found.added)} keys added to {found.file}" if found.added else "nothing to add"])


def key_lines(offer: OfferedKeys) -> list[str]:
    """What hosts present as text."""
    from canaryctl.commands.trust import FINGERPRINTS

    words = {
        "verified": f"verified: {FINGERPRINTS} says the same",
        "unlisted": f"not in {FINGERPRINTS}, not pinned",
        "pinned": "pinned already",
        "known": "known already",
        "new": "new",
    }
    lines = []
    for trust in offer.hosts:
        rows = [[key.kind, f"{key.fingerprint}  {words[standing]}"] for key, standing in trust.keys]
        details = [f"known in {place}" for place in trust.places]
        details += [f"replaces {key}" for key in trust.replacing]
        lines += [f"{trust.host} ({trust.name}):"]
        lines += [f"  {line}" for line in (*aligned(rows, least={0: 19}), *details)]
    return lines


def signer_lines(found: Signers) -> list[str]:
    """The list of signers as text."""
    if not found.listed and not found.added:
        return [
            f"nobody is listed in {found.file}: verdicts of {found.environment} count where all its hosts "
            "say the same; list yourself with --me, others with --add KEYFILE"
        ]
    rows = [
        [signer.name, signer.key.kind, signer.key.fingerprint, word]
        for word, signers in (("", found.listed), ("new", found.added))
        for signer in signers
    ]
    return [f"{found.file}:", *(f"  {line}" for line in aligned(rows, least={0: 23, 1: 19}))]


for command in (hosts, signers):
    app.command()(command)

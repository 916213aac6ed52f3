"""`canaryctl secrets`: which secrets there are, here and on hosts. Shows no value of any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, aligned, leave, print_answer

if TYPE_CHECKING:
    from canaryctl.commands.request import Request
    from canaryctl.commands.secrets import SecretDiff, SecretList

app = typer.Typer(no_args_is_help=True, help="Say which secrets there are, here and on hosts; never their values.")
_STATUSES = {
    "same": "same",
    "differs": "differs",
    "missing": "missing on the host",
    "extra": "extra on the host",
    "unknown": "has no value here",
}


@opt.takes()
def check(request: Request, output: Output) -> None:
    """Look every secret of an environment up: where it comes from and whether it is there. Touches no host."""
    from canaryctl.commands import secrets

    found = secrets.check(request)
    print_answer(found, list_lines(found), output)
    raise typer.Exit(0 if all(secret.present for secret in found.secrets) else 2)


@opt.takes()
def diff(request: Request, output: Output) -> None:
    """Compare the secrets with what hosts hold, by name and fingerprint. Changes nothing."""
    from canaryctl.commands import secrets

    found, failures = secrets.diff(request)
    print_answer(found, diff_lines(found), output)
    leave(failures, 2 if found.missing else 0)


def list_lines(found: SecretList) -> list[str]:
    """Secrets as text, a line each."""
    if not found.secrets:
        return [f"{found.stack} asks for no secrets"]
    rows = []
    for secret in found.secrets:
        state = f"present  {secret.fingerprint}" if secret.present else f"missing: {secret.problem}"
        rows.append([secret.name, f"{secret.source:<8}{secret.place}  {state}"])
    unasked = (f"{name} is in canary_secrets, and the stack does not ask for it" for name in found.unasked)
    return [*aligned(rows), *unasked]


def diff_lines(found: SecretDiff) -> list[str]:
    """Secrets of hosts as text, host by host."""
    lines = []
    for host, secrets in found.hosts.items():
        rows = [
            [one.name, _STATUSES[one.status], f"here {one.here or '-'}, there {one.there or '-'}"] for one in secrets
        ]
        lines.append(f"{host}:" if rows else f"{host}: no secrets, here or there")
        lines += [f"  {line}" for line in aligned(rows, least={0: 23, 1: 19})]
    return lines


for command in (check, diff):
    app.command()(command)

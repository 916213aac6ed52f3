"""`canaryctl doctor`: what this machine lacks, and what to do about it."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def doctor(
    output: Annotated[Literal["text", "json"], typer.Option("--output", help="What to print.")] = "text",
) -> None:
    """Check this machine: Python, packages, SSH, Docker, disk, lab tools. Exits 2 if something needed is missing."""
    import json

    from canaryctl.commands.doctor import check_machine

    checks = check_machine()
    ready = all(check.status != "missing" for check in checks)
    if output == "json":
        typer.echo(json.dumps({"ready": ready, "checks": [check.as_dict() for check in checks]}, indent=2))
    else:
        for check in checks:
            typer.echo(f"{check.status:<8} {check.name:<17} {check.found}")
            if check.todo:
                typer.echo(f"{'':<8} {'':<17} -> {check.todo}")
        typer.echo("ready" if ready else "something needed is missing")
    if not ready:
        raise typer.Exit(2)

"""`canaryctl lab`: disposable hosts for rehearsal, demo and tests."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

app = typer.Typer(help="Disposable servers on this machine's Docker.", no_args_is_help=True)

Name = Annotated[str, typer.Option("--name", envvar="CANARYCTL_LAB", help="Which lab.")]


@app.command()
def up(
    hosts: Annotated[str, typer.Option("--hosts", help="Comma-separated; added to those the lab has.")] = "",
    with_docker: Annotated[
        bool, typer.Option("--with-docker", help="Hosts that have to be made come with Docker installed.")
    ] = False,
    name: Name = "default",
) -> None:
    """Make the lab's hosts, or heal them: running, answering SSH, keys pinned, secrets generated."""
    from canaryctl import lab

    chosen = [host.strip() for host in hosts.split(",") if host.strip()] or lab.DEFAULT_HOSTS
    made = lab.up(name, chosen, _secrets(), say=typer.echo, with_docker=with_docker)
    for host, where in made.hosts.items():
        typer.echo(f"{host:<16} {where.address:<14} ssh on 127.0.0.1:{where.port}")


@app.command()
def status(
    name: Name = "default",
    output: Annotated[Literal["text", "json"], typer.Option("--output", help="What to print.")] = "text",
) -> None:
    """Say where the lab's hosts are and whether they answer."""
    import json

    from canaryctl import lab

    found = lab.status(name)
    if output == "json":
        typer.echo(json.dumps(found, indent=2))
        return
    if not found["hosts"]:
        typer.echo(f"the lab {name!r} is not up")
    for host, seen in found["hosts"].items():
        ssh = "ssh ok" if seen["ssh"] else "no ssh"
        typer.echo(f"{host:<16} {seen['state']:<10} {seen['address']:<14} 127.0.0.1:{seen['port']}  {ssh}")


@app.command(epilog="Example: canaryctl lab ssh canary-1 -- sudo docker ps")
def ssh(
    host: Annotated[str, typer.Argument(help="One of the lab's hosts.")],
    command: Annotated[
        list[str] | None, typer.Argument(help="After `--`: handed to the remote shell as ssh does.")
    ] = None,
    name: Name = "default",
) -> None:
    """Log in to a lab host, or run a command there and exit with its code."""
    import os
    import signal

    from canaryctl import lab

    argv = lab.ssh_argv(lab.require(name), host, *(command or []))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and ssh would inherit that
    os.execvp(argv[0], argv)  # noqa: S606  ssh takes over the terminal, the pipes and the exit code


@app.command()
def down(
    name: Name = "default",
    purge: Annotated[bool, typer.Option("--purge", help="Also the lab's SSH key and secrets.")] = False,
) -> None:
    """Remove the lab's hosts with everything on them, and its network."""
    from canaryctl import lab

    gone = lab.down(name, purge=purge, say=typer.echo)
    typer.echo(f"removed {', '.join(gone)}" if gone else f"the lab {name!r} had no hosts")


@app.command(epilog="Example: canaryctl lab fault host-killed canary-1 --for 30")
def fault(
    which: Annotated[str, typer.Argument(metavar="FAULT", help="Without one, all are listed.")] = "",
    host: Annotated[str, typer.Argument(metavar="HOST", help="One of the lab's hosts.")] = "",
    seconds: Annotated[
        float, typer.Option("--for", min=0.1, max=86400, metavar="SECONDS", help="How long; Ctrl-C ends it at once.")
    ] = 20,
    name: Name = "default",
) -> None:
    """Break a lab host on real means, for a while. It is undone also when this command is killed."""
    import datetime

    from canaryctl import lab
    from canaryctl.errors import ConfigError
    from canaryctl.lab import faults

    if not which:
        for known in faults.FAULTS.values():
            typer.echo(f"{known.name:<16} {known.what}")
        return
    if not host:
        raise ConfigError(
            "no host is named", "HOST", f"canaryctl lab fault {which} HOST; canaryctl lab status lists hosts"
        )
    running = faults.begin(lab.require(name), which, host, seconds)
    until = datetime.datetime.now() + datetime.timedelta(seconds=seconds)
    typer.echo(f"{host}: {running.fault.name}, {running.fault.what}, until {until:%H:%M:%S}")
    try:
        running.wait()
    except KeyboardInterrupt:
        running.end()
        typer.echo(f"{host}: undone early")
        raise
    typer.echo(f"{host}: undone")


def _secrets() -> dict[str, list[str]]:
    """What the project here asks for: the stack's secrets, for every environment. Outside a project, nothing."""
    from canaryctl.commands.lab import project_secrets
    from canaryctl.errors import CanaryError

    try:
        return project_secrets()
    except CanaryError as error:
        typer.echo(f"no secrets generated: {error}", err=True)
        return {}

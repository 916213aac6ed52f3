"""Commands that look: build (here), status and logs (on hosts). They leave no run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, Printer, field, print_json

if TYPE_CHECKING:
    from canaryctl.plan.deployment import Request


def build(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGE]...", help="All that can be built, if left out.")
    ] = None,
    stack: opt.StackFile = None,
    build_arg: Annotated[
        list[str] | None,
        typer.Option(
            "--build-arg",
            metavar="NAME[=VALUE]",
            help="A build argument of the stack file; without a value, from your environment. Repeatable.",
            show_default=False,
        ),
    ] = None,
    output: opt.OutputMode = Output.TEXT,
) -> None:
    """Build the stack's images on this machine."""
    import os
    import sys

    from canaryctl.config.project import load_project
    from canaryctl.config.stack import load_stack
    from canaryctl.config.yamlfile import shown
    from canaryctl.errors import ConfigError
    from canaryctl.images.docker import build_images

    project = load_project(stack=stack)
    loaded = load_stack(project.stack)
    granted = {name: value if given else None for name, given, value in (a.partition("=") for a in build_arg or ())}
    for name in (name for name, value in granted.items() if value is None and name not in os.environ):
        raise ConfigError(
            f"--build-arg {name}: your environment has no {name}", "--build-arg", f"set it, or {name}=VALUE"
        )
    for name in images or ():
        if name not in loaded.images:
            raise ConfigError(f"no image '{name}'", shown(loaded.file), f"there are: {', '.join(loaded.images)}")
    wanted = images or [name for name, image in loaded.images.items() if image.build]
    to = Printer(sys.stderr if output is Output.JSON else sys.stdout)
    built = build_images(loaded, wanted, to.line, project=project.root, granted=granted)
    if output is Output.TEXT:
        for image in built.values():
            to.line(f"{image.reference:<32} {image.size / 1e6:>7.0f} MB  {image.id}")
    else:
        print_json({"images": {name: {"id": i.id, "tag": i.reference, "size": i.size} for name, i in built.items()}})


@opt.takes(all_environments=True)
def status(request: Request, output: Output) -> None:
    """Say what every host of ENV serves, or without ENV all environments at a glance. Changes nothing."""
    import sys

    from canaryctl.cli.output import print_error
    from canaryctl.commands import status
    from canaryctl.errors import worst_exit

    if not request.environment:
        answer, problems = status.status_of_all(request)
        lines = status.overview_lines
    else:
        answer, failures = status.status(request)
        problems, lines = list(failures), status.status_lines
    if output is Output.TEXT:
        to = Printer(sys.stdout)
        for line in lines(answer):
            to.line(field(line))
    else:
        print_json(answer)
    for problem in problems:
        print_error(problem)
    raise typer.Exit(worst_exit([problem.exit_code for problem in problems]))


@opt.takes()
def execute(
    request: Request,
    output: Output,
    *,
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="A service of the stack.")],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="The command and its arguments.")],
) -> None:
    """Run a command in a service's container, and exit with its exit code."""
    import os
    import sys

    from canaryctl.commands import exec

    def write(number: int, data: bytes) -> None:
        while data:
            data = data[os.write(number, data) :]

    typed = sys.stdin is not None and sys.stdin.isatty()
    stdin = None if sys.stdin is None or typed else iter(lambda: os.read(0, 1 << 16), b"")
    code = exec.execute(
        request,
        service,
        command,
        stdin=stdin,
        terminal=typed and sys.stdout.isatty(),
        out=lambda data: write(1, data),
        err=lambda data: write(2, data),
        say=lambda text: Printer(sys.stderr).line(text),
    )
    raise typer.Exit(code)


@opt.takes()
def logs(
    request: Request,
    output: Output,
    *,
    service: Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="All services, if left out.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, help="Lines of each service to begin with.")] = 100,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DURATION", help="Only lines of this last time, such as 10m.")
    ] = None,
) -> None:
    """Print the services' logs of all hosts by time, each line with its host and service."""
    import sys

    from canaryctl.cli.coloured import LogPrinter
    from canaryctl.cli.output import print_error
    from canaryctl.commands import logs as read

    seconds = None if since is None else opt.duration(since, "--since")
    say = LogPrinter(Printer(sys.stdout))
    failures = read.logs(request, service, tail=tail, since=seconds, follow=follow, say=say)
    for failure in failures:
        print_error(failure)
    raise typer.Exit(3 if failures else 0)

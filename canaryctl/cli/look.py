"""Commands that look: build (here), status and logs (on hosts). They leave no run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, Printer, print_json

if TYPE_CHECKING:
    from canaryctl.scene import Request


def build(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGE]...", help="All that can be built, if left out.")
    ] = None,
    stack: opt.StackFile = None,
    output: opt.OutputMode = Output.TEXT,
) -> None:
    """Build the stack's images on this machine."""
    import sys

    from canaryctl.config.project import load_project
    from canaryctl.config.stack import load_stack
    from canaryctl.config.yamlfile import shown
    from canaryctl.deliver.docker import build_images
    from canaryctl.errors import ConfigError

    loaded = load_stack(load_project(stack=stack).stack)
    for name in images or ():
        if name not in loaded.images:
            raise ConfigError(f"no image '{name}'", shown(loaded.file), f"there are: {', '.join(loaded.images)}")
    wanted = images or [name for name, image in loaded.images.items() if image.build]
    to = Printer(sys.stderr if output is Output.JSON else sys.stdout)
    built = build_images(loaded, wanted, to.line)
    if output is Output.TEXT:
        for image in built.values():
            to.line(f"{image.reference:<32} {image.size / 1e6:>7.0f} MB  {image.id}")
    else:
        print_json({"images": {name: {"id": i.id, "tag": i.reference, "size": i.size} for name, i in built.items()}})


@opt.takes()
def status(request: Request, output: Output) -> None:
    """Say what every host serves: release, services and their health. Changes nothing."""
    import sys

    from canaryctl import glance
    from canaryctl.cli.output import print_error

    answer, failures = glance.status(request)
    if output is Output.TEXT:
        to = Printer(sys.stdout)
        for line in glance.status_lines(answer):
            to.line(line)
    else:
        print_json(answer)
    for failure in failures:
        print_error(failure)
    raise typer.Exit(3 if failures else 0)


@opt.takes()
def logs(
    request: Request,
    output: Output,
    *,
    service: Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="All services, if left out.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, help="Lines of each service to begin with.")] = 100,
) -> None:
    """Print the services' logs, each line with its host and service."""
    import sys

    from canaryctl import glance
    from canaryctl.cli.output import clean, print_error

    to = Printer(sys.stdout)
    failures = glance.logs(request, service, tail=tail, follow=follow, say=lambda line: to.line(clean(line)))
    for failure in failures:
        print_error(failure)
    raise typer.Exit(3 if failures else 0)

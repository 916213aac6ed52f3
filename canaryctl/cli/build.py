"""The command `build`: a stack's images, on this machine. It leaves no run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, Printer, print_json


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
    from canaryctl.commands import build

    to = Printer(sys.stderr if output is Output.JSON else sys.stdout)
    built = build.build(stack, images or (), build_arg or (), to.line)
    if output is Output.TEXT:
        for image in built.values():
            to.line(f"{image.reference:<32} {image.size / 1e6:>7.0f} MB  {image.id}")
    else:
        print_json({"images": {name: {"id": i.id, "tag": i.reference, "size": i.size} for name, i in built.items()}})

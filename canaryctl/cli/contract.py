"""The command `contract`: check the stack's images here, with no host in sight. It leaves no run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, Printer, aligned, field, print_json

if TYPE_CHECKING:
    from canaryctl.commands.contract import CheckedImage, Row


def contract(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGE]...", help="All images of the stack, if left out.")
    ] = None,
    stack: opt.StackFile = None,
    variant: opt.VariantName = None,
    image: opt.ChosenImages = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Check again what was checked before, and remember that.")
    ] = False,
    output: opt.OutputMode = Output.TEXT,
) -> None:
    """Check the images on this machine against their contracts, by running them. Exit 1 where one is broken."""
    import sys

    from canaryctl.commands import contract

    checked = contract.check_images(stack, images or (), variant, opt.chosen_images(image), remembered=not no_cache)
    if output is Output.TEXT:
        _print(checked, Printer(sys.stdout))
    else:
        print_json(_document(checked))
    verdicts = {row.verdict for one in checked for row in one.rows}
    raise typer.Exit(1 if "failed" in verdicts else 4 if "inconclusive" in verdicts else 0)


def _document(checked: Sequence[CheckedImage]) -> dict[str, Any]:
    return {
        "contracts": [row.as_dict() for one in checked for row in one.rows],
        "images": {
            one.image.name: {
                "id": one.image.id,
                "tag": one.image.reference,
                "size": one.image.size,
                "layers": one.layers,
            }
            for one in checked
        },
    }


def _print(checked: Sequence[CheckedImage], to: Printer) -> None:
    from canaryctl.commands.contract import biggest, show_size

    for one in checked:
        image = one.image
        to.line(f"{to.paint(image.name, 'bold')}  {image.reference}  {show_size(image.size)}  {image.id[:19]}")
        for row, line in zip(one.rows, aligned(map(_cells, one.rows), most=50), strict=True):
            to.line(f"  {to.symbol(row.verdict)} {line}")
            if row.reason:
                to.wrapped(row.reason, 6)
        to.line("  biggest layers:")
        for layer in biggest(one.layers):
            to.line(f"    {show_size(layer['size']):>8}  {field(layer['created_by'])[:100]}")
        to.line()
    counts = [row.verdict for one in checked for row in one.rows]
    words = ("passed", "failed", "inconclusive", "skipped")
    counted = ", ".join(f"{counts.count(word)} {word}" for word in words if word in counts)
    to.line(f"{len(counts)} checks of {len(checked)} images: {counted or 'none'}")


def _cells(row: Row) -> list[str]:
    known = " (checked before)" if row.cached else ""
    return [field(row.check), f"{field(row.found)[:80] if row.verdict == 'passed' else row.verdict}{known}"]

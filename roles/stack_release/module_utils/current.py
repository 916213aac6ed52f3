"""The link beside the releases that says which one is in use. Python 3.8, standard library."""

from __future__ import annotations

import os
from pathlib import Path


class Misplaced(Exception):  # noqa: N818  not a fault of this program
    """Something of somebody else's is where the link should be, or it cannot be written there."""


def leads_to(link: Path, release: Path) -> bool:
    """Whether it is a link to the release, as we make it: relative."""
    return link.is_symlink() and os.readlink(link) == os.path.relpath(release, link.parent)  # noqa: PTH115  Python 3.8


def point(link: Path, release: Path) -> bool:
    """Make the link lead to the release, and at no moment to nothing; whether it did not before. Raises Misplaced."""
    if leads_to(link, release):
        return False
    if os.path.lexists(link) and not link.is_symlink():
        raise Misplaced(
            f"{link} is no link, as we make it: somebody has put it there; move it away. Nothing was started"
        )
    partial = link.with_name(f".{link.name}.partial")
    try:
        if os.path.lexists(partial):
            partial.unlink()
        partial.symlink_to(os.path.relpath(release, link.parent))
        partial.replace(link)
    except OSError as error:  # the caller's others are Docker's
        raise Misplaced(
            f"{link} cannot be written: {error.strerror}; see to {link.parent}. Nothing was started"
        ) from None
    return True

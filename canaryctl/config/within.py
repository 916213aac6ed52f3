"""Files that a stack names: only ones of its own, whatever links say, and never without bound."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError


def resolve_below(folder: Path, relative: str | Path, *, what: str, where: str = "") -> Path:
    """`folder / relative` with links resolved. What does not exist is for the caller to say.

    Args:
        folder: where it must lie.
        what: names the thing in the error: `the asset`, `the context of image web`.
        where: the place that names it; default: the path.

    Raises:
        ConfigError: it leads out of the folder, or is no path.
    """
    path = folder / relative
    try:
        real, root = path.resolve(), folder.resolve()
        real.exists()  # a name too long for the file system is no path either
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{what} is no path: {error}", where or str(folder), "correct it") from None
    if not real.is_relative_to(root):
        raise ConfigError(
            f"{what} '{shown_below(path, folder)}' leads out of {shown(folder)}, to {real}",
            where or shown_unresolved(path),
            "put a copy of it into that folder: nothing outside is read for a stack",
        )
    return real


def read_below(folder: Path, relative: str | Path, *, what: str, most: int) -> bytes:
    """The content of a regular file below `folder`, read once, by its resolved path.

    Raises:
        ConfigError: it leads out of the folder, is no regular file, cannot be read, or has more than `most` bytes.
    """
    path = folder / relative
    real = resolve_below(folder, relative, what=what)
    try:
        # Resolved above, so that a link put in its place since then is not followed; a pipe does not block.
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ConfigError(f"{what} is no regular file", shown_unresolved(path), "replace it by a file")
            content = file.read(most + 1)
    except OSError as error:
        raise ConfigError(f"{what} cannot be read: {error.strerror}", shown_unresolved(path)) from None
    if len(content) > most:
        raise ConfigError(
            f"{what} has more than {most / 1e6:g} MB", shown_unresolved(path), "make it smaller, or keep it elsewhere"
        )
    return content


def shown_unresolved(path: Path) -> str:
    """A path as the stack names it, its links not resolved; relative where it lies below the working directory."""
    plain = Path(os.path.normpath(Path.cwd() / path))
    return str(plain.relative_to(Path.cwd())) if plain.is_relative_to(Path.cwd()) else str(plain)


def shown_below(path: Path, folder: Path) -> str:
    """The path relative to the folder, where it is written as one below it."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)

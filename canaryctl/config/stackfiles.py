"""The stack's files that run, read from disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from canaryctl.config.stack import Stack
from canaryctl.config.within import read_below, resolve_below, shown_unresolved
from canaryctl.config.yamlfile import decoded, shown
from canaryctl.config.yamltext import LARGEST as LARGEST_TEXT
from canaryctl.errors import ConfigError

LARGEST = 64 * 10**6  # bytes of all assets together
MOST = 10_000  # assets
_DEEPEST = 40  # folders in each other
_IGNORED = {"__pycache__", ".git", ".DS_Store"}


@dataclass(frozen=True)
class StackFiles:
    """Contents by path relative to the stack file's folder: the compose template, and the assets."""

    template: str
    assets: dict[str, bytes]
    compose: str

    @property
    def all(self) -> dict[str, bytes]:
        """Everything the release's id covers."""
        return {self.compose: self.template.encode(), **self.assets}


def read_stack_files(stack: Stack, operators: Iterable[Path] = ()) -> StackFiles:
    """Read the compose template and every file of the assets, each once. Links are followed below the stack's folder.

    Args:
        operators: folders of the operator (inventories, evidence, hooks) that may lie in the stack's: nothing in them
            is the stack's. One that the stack's folder lies in says nothing.

    Raises:
        ConfigError: one cannot be read, leads out of the stack's folder or is no file, or the assets are too many or
            too big to be copied with every release.
    """
    root = stack.directory.resolve()
    kept = [folder for folder in (path.resolve() for path in operators) if not root.is_relative_to(folder)]
    source = stack.directory / stack.compose
    _require_the_stacks(stack, stack.compose, "the compose file", kept)
    content = read_below(stack.directory, stack.compose, what="the compose file", most=LARGEST_TEXT)
    template = decoded(content, source)
    assets: dict[str, bytes] = {}
    room = LARGEST
    for asset in stack.assets:
        for path in _files(stack, stack.directory / asset, ()):
            name = path.relative_to(stack.directory).as_posix()
            if name in assets:
                continue
            _require_the_stacks(stack, name, "the asset", kept)
            if len(assets) == MOST:
                raise _too_much(stack, f"there are more than {MOST} assets")
            if path.stat().st_size > room:
                raise _too_much(stack, f"the assets are more than {LARGEST // 10**6} MB")
            assets[name] = read_below(stack.directory, name, what="the asset", most=room)
            room -= len(assets[name])
    return StackFiles(template=template, assets=assets, compose=stack.compose)


def _require_the_stacks(stack: Stack, name: str, what: str, kept: Iterable[Path]) -> None:
    real = resolve_below(stack.directory, name, what=what)
    for folder in kept:
        if real.is_relative_to(folder):
            raise ConfigError(
                f"{what} '{name}' lies in {shown(folder)}, which is the operator's and goes to no host",
                shown(stack.file),
                "name just the files and folders that the stack needs",
            )


def _too_much(stack: Stack, what: str) -> ConfigError:
    hint = "assets are copied with every release; put big data on the hosts and declare it under 'mounts'"
    return ConfigError(what, shown(stack.file), hint)


def _files(stack: Stack, path: Path, around: tuple[Path, ...]) -> Iterator[Path]:
    """Every file in a path of the assets, as the stack names it, in order. `around`: the real folders it lies in."""
    if _IGNORED & set(path.relative_to(stack.directory).parts):
        return
    real = resolve_below(stack.directory, path.relative_to(stack.directory), what="the asset")
    if real.is_dir():
        if real in around or len(around) == _DEEPEST:
            why = "leads back into a folder around it" if real in around else f"is more than {_DEEPEST} folders deep"
            raise ConfigError(f"the asset {why}", shown_unresolved(path), "take it out of the assets")
        try:
            names = sorted(entry.name for entry in real.iterdir())
        except OSError as error:
            raise ConfigError(f"an asset cannot be read: {error.strerror}", shown_unresolved(path)) from None
        for name in names:
            if not name.isprintable():  # bytes that are no UTF-8 are not either
                raise ConfigError(
                    f"an asset has a name that cannot be shown: {name!a}", shown_unresolved(path), "rename it"
                )
            yield from _files(stack, path / name, (*around, real))
    elif real.exists():  # a link to nowhere within the stack is no file; what is no regular file is refused when read
        yield path

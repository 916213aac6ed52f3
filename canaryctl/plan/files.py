"""The stack's files that run, read from disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from canaryctl.config.stack import Stack
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError

LARGEST = 64 * 10**6
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


def read_stack_files(stack: Stack) -> StackFiles:
    """Read the compose template and every file of the assets.

    Raises:
        ConfigError: one cannot be read, or the assets are too big to be copied with every release.
    """
    source = stack.directory / stack.compose
    try:
        template = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the compose file cannot be read: {error}", shown(source)) from None
    assets: dict[str, bytes] = {}
    for asset in stack.assets:
        root = stack.directory / asset
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and not _IGNORED & set(path.relative_to(stack.directory).parts):
                assets[path.relative_to(stack.directory).as_posix()] = _read(path)
    total = sum(len(content) for content in assets.values())
    if total > LARGEST:
        raise ConfigError(
            f"the assets are {total / 1e6:.0f} MB, more than {LARGEST // 10**6} MB",
            shown(stack.file),
            "assets are copied with every release; put big data on the hosts and declare it under 'mounts'",
        )
    return StackFiles(template=template, assets=assets, compose=stack.compose)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"an asset cannot be read: {error.strerror}", shown(path)) from None

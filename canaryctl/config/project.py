"""The project file `canaryctl.yml`: where the stack, the environments and the evidence are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from canaryctl.config.ownership import require_own
from canaryctl.config.yamlfile import load_yaml, shown, validate
from canaryctl.errors import ConfigError

FILE = "canaryctl.yml"


@dataclass(frozen=True)
class Project:
    """Absolute paths of one project. `probes` is set only where the operator chose another probe file.

    `hooks` is None where no project file says whose they are; `named` where the operator named the inventories.
    """

    root: Path
    stack: Path
    inventories: Path
    runs: Path
    probes: Path | None = None
    hooks: Path | None = None
    named: bool = True

    @property
    def operators_folders(self) -> tuple[Path, ...]:
        """Folders of which nothing is the stack's, wherever they lie."""
        return (self.inventories, self.runs, *((self.hooks,) if self.hooks else ()))

    def environments(self) -> list[str]:
        """Names of the environments there are, sorted."""
        if not self.inventories.is_dir():
            return []
        return sorted(p.name for p in self.inventories.iterdir() if p.is_dir() and not p.name.startswith("."))


def _path(text: str) -> str:
    if len(text) > 4000 or any(len(part.encode()) > 255 for part in Path(text).parts):
        raise ValueError("this is longer than any path")
    return text


_Path = Annotated[str, AfterValidator(_path)]


class _ProjectFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    stack: _Path = "stack.yml"
    inventories: _Path = "inventories"
    runs: _Path = "runs"
    hooks: _Path | None = None


def load_project(
    *,
    stack: str | Path | None = None,
    inventories: str | Path | None = None,
    runs: str | Path | None = None,
    probes: str | Path | None = None,
    start: Path | None = None,
) -> Project:
    """Find the project from `start` (default: the working directory) upwards, as git does.

    Arguments override CANARYCTL_STACK, CANARYCTL_INVENTORIES, CANARYCTL_RUNS and CANARYCTL_PROBES, which override the
    file. Paths in the file are relative to it; the others to the working directory. Where the
    first three are given, another user's file is passed over.

    Raises:
        ConfigError: no project file and not enough given to do without one, or one that is faulty or of another user.
    """
    start = (start or Path.cwd()).resolve()
    given = {
        name: Path(value).resolve() if (value := passed or os.environ.get(f"CANARYCTL_{name.upper()}")) else None
        for name, passed in {"stack": stack, "inventories": inventories, "runs": runs, "probes": probes}.items()
    }
    file = next((folder / FILE for folder in (start, *start.parents) if (folder / FILE).is_file()), None)
    if file and given["stack"] and given["inventories"] and given["runs"] and not _is_own(file):
        file = None
    if file is None and not given["stack"]:
        raise ConfigError(
            f"no {FILE} here or in a folder above",
            str(start),
            f"run in a project, or write a {FILE} that names stack, inventories and runs",
        )
    root = file.parent if file else start
    settings = _ProjectFile()
    if file:
        require_own(root)
        require_own(file)
        document = load_yaml(file)
        if document.data is not None:
            settings = validate(_ProjectFile, document)
    if settings.hooks is not None and not (root / settings.hooks).is_dir():
        raise ConfigError(f"no folder {settings.hooks}", f"{shown(root / FILE)}: hooks", "make it, or take the key out")
    hooks = root / (settings.hooks or "hooks") if file else None
    for path in (hooks, *sorted(hooks.iterdir())) if hooks and hooks.is_dir() else ():
        require_own(path)
    return Project(
        root=root,
        stack=given["stack"] or root / settings.stack,
        inventories=given["inventories"] or root / settings.inventories,
        runs=given["runs"] or root / settings.runs,
        probes=given["probes"],
        hooks=hooks,
        named=given["inventories"] is not None,
    )


def _is_own(file: Path) -> bool:
    try:
        require_own(file.parent)
        require_own(file)
    except ConfigError:
        return False
    return True

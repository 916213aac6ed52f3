"""Modules of the roles, loaded as Ansible loads them: by their files, what they import from the roles' module_utils."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import ansible.module_utils

ROLES = Path(__file__).parents[2] / "roles"

for folder in sorted(ROLES.glob("*/module_utils")):
    if str(folder) not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(str(folder))


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module

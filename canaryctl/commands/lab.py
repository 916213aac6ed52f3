"""What a lab is made for."""

from __future__ import annotations

from canaryctl.config.project import load_project
from canaryctl.config.stack import load_stack


def project_secrets() -> dict[str, list[str]]:
    """Names of the secrets that the stack of the project here asks for, by environment.

    Raises:
        ConfigError: there is no project here, or its stack file is faulty.
    """
    project = load_project()
    names = list(load_stack(project.stack).secrets)
    return dict.fromkeys(project.environments(), names)

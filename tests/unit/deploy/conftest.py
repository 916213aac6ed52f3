"""What the deciding code works with, made for each test and taken away after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from contexts import make_context, make_deployment

from canaryctl.deploy.command import DEPLOY, Command
from canaryctl.deploy.context import RunContext

Working = Callable[..., RunContext]


@pytest.fixture
def working(tmp_path: Path) -> Iterator[Working]:
    """Makes a run at work; arguments are those of `make_deployment`, and `command`."""
    with ExitStack() as leaving:

        def make(*hosts: str, command: Command = DEPLOY, **known: Any) -> RunContext:
            deployment = make_deployment(tmp_path, hosts or ("a", "b"), **known)
            return leaving.enter_context(make_context(deployment, command))

        yield make

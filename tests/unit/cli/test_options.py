"""Options that commands share, as values."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, get_args

import pytest
import typer
from projects import make_project

from canaryctl.cli import options
from canaryctl.cli.output import Output
from canaryctl.commands.request import Request
from canaryctl.errors import ConfigError

taken: dict[str, object] = {}


@options.takes("only", "variant", "image", "no_contract", "force", "reason")
def command(
    request: Request, output: Output, *, own: Annotated[str | None, typer.Option("--own", help="Its own.")] = None
) -> None:
    """Say what was given."""
    taken.update(request=request, output=output, own=own)


def test_a_command_takes_its_environment_then_its_own_then_what_all_do() -> None:
    parameters = inspect.signature(command).parameters
    assert list(parameters)[:3] == ["environment", "own", "stack"] and "break_lock" not in parameters
    assert {"limit", "output", "secret_env", "only", "variant"} < set(parameters)
    assert get_args(parameters["own"].annotation)[0] == str | None
    assert (command.__name__, command.__doc__) == ("command", "Say what was given.")


def test_options_become_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path))
    given = {name: parameter.default for name, parameter in inspect.signature(command).parameters.items()}
    given |= {"environment": "canary", "own": "x", "only": ["a"], "image": ["web=mine:1"], "verbose": 2}
    command(**given | {"no_contract": True, "force": True, "reason": " it\nburns "})
    request = taken["request"]
    assert isinstance(request, Request) and (taken["output"], taken["own"]) == (Output.TEXT, "x")
    assert (request.environment, request.only, request.skip, request.secret_env) == ("canary", ("a",), (), ())
    assert request.images == {"web": "mine:1"} and request.verbosity == 2 and request.variant is None
    assert not request.contracts and request.force_reason == "it burns" and request.become_password is None


@pytest.mark.parametrize("given", ["web", "=x", "web=", ""])
def test_an_image_is_a_name_and_a_reference(given: str) -> None:
    with pytest.raises(ConfigError, match="NAME=REF"):
        options.chosen_images([given])
    assert options.chosen_images(["a=x:1", "b=y@sha256:1=2"]) == {"a": "x:1", "b": "y@sha256:1=2"}


@pytest.mark.parametrize("given", ["0s", "-1s", "soon", "10"])
def test_a_duration_is_above_nothing_and_has_its_unit(given: str) -> None:
    with pytest.raises(ConfigError) as refused:
        options.duration(given, "--since")
    assert refused.value.where == "--since" and options.duration("10m", "--since") == 600

"""Every kind of operation: said, recorded and documented."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from planned import DB, DB_TAG, DIRECTORY

from canaryctl.plan import operations
from canaryctl.plan.operations.migrate import Migrate
from canaryctl.plan.operations.operation import Operation
from canaryctl.plan.operations.provision import Provision
from canaryctl.plan.operations.push import Push
from canaryctl.plan.operations.render import Render, WriteSecrets
from canaryctl.plan.operations.rollback import BringBack, Created, RemoveCreated
from canaryctl.plan.operations.start import MakeCurrent, RemoveService, StartService, StartVariant, StopProject

ROOT = Path(__file__).parents[4]
SCHEMA = json.loads((ROOT / "canaryctl/evidence/schema/run.schema.json").read_text())
CHANGE = SCHEMA["properties"]["plan"]["properties"]["changes"]["items"]
ONE_OF_EACH: tuple[Operation, ...] = (
    Provision("one", "why", "docker"),
    Push("one", "why", DB, DB_TAG),
    Render("one", "why", DIRECTORY, ("db", "web")),
    WriteSecrets("one", "why"),
    Migrate("one", "why", "web", "up", {"one": ("shop-test",)}),
    StopProject("one", "why", "shop-test"),
    MakeCurrent("one", "why", DIRECTORY),
    StartService("one", "why", "web"),
    RemoveService("one", "why", "old"),
    StartVariant("one", "why", "cpu"),
    BringBack("one", "why", DIRECTORY, "shop-prod", ("shop-test",)),
    RemoveCreated("one", "why", "shop-prod", Created(("1",), (), ("current",))),
)


def kinds() -> Iterator[type[Operation]]:
    for module in pkgutil.iter_modules(operations.__path__):
        importlib.import_module(f"{operations.__name__}.{module.name}")
    yield from Operation.__subclasses__()


def test_no_kind_is_forgotten_here() -> None:
    assert {type(operation) for operation in ONE_OF_EACH} == set(kinds())
    assert len({kind.kind for kind in kinds()}) == len(ONE_OF_EACH)


@pytest.mark.parametrize("operation", ONE_OF_EACH, ids=lambda operation: operation.kind)
def test_it_is_recorded_as_the_schema_and_the_documentation_have_it(operation: Operation) -> None:
    change = operation.as_dict()
    jsonschema.validate(change, CHANGE)
    assert json.loads(json.dumps(change)) == change and change["what"] and change["reason"] == "why"
    (row,) = (
        line
        for line in (ROOT / "docs/evidence.md").read_text().splitlines()
        if line.startswith(f"| `{operation.kind}` |")
    )
    assert all(f"`{key}`" in row for key in operation.data)

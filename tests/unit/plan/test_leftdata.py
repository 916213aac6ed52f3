"""Data that stays behind is told, and a database that would silently start empty is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from canaryctl.config.stack import Stack
from canaryctl.facts.host import HostFacts, parse
from canaryctl.plan.leftdata import Known, Left, data_problems, hidden_content, left_behind
from canaryctl.plan.mounting import Mounting
from canaryctl.plan.rendering import Rendering

STACK = Stack.model_validate(
    {
        "stack": "shop",
        "images": {"web": {"tag": "web:1"}, "db": {"tag": "shop-db:1"}, "cache": {"tag": "mirror.example/redis:7"}},
        "variants": {"only": {"web": "web", "db": "db", "cache": "cache"}},
        "placement": {"all": ["db", "web", "cache"]},
        "compose": "compose.yml.j2",
        "migrations": {"service": "web", "upgrade": "up", "current": "now", "database": "db"},
    }
)
PROD = Known(("prod",))
ANONYMOUS = "a" * 64
DB, WEB = Mounting("db", "volume", "shop-prod_data", "/db"), Mounting("web", "volume", "shop-prod_files", "/files")


def rendering(*mounts: Mounting) -> Rendering:
    return Rendering("one", "x", ("db", "web", "cache"), {}, (), mounts=mounts)


def container(service: str, source: str, destination: str, **more: Any) -> dict[str, Any]:
    kind = "bind" if source.startswith("/") else "volume"
    mount = {"type": kind, "source": source, "destination": destination, "rw": more.pop("rw", True)}
    return {"service": service, "project": "shop-prod", "mounts": [mount], **more}


def host(*containers: dict[str, Any], volumes: tuple[str, ...] = (), history: Any = ()) -> HostFacts:
    named = [{"name": name, "project": name.rpartition("_")[0]} for name in volumes]
    document = {"docker": {"running": True}, "containers": list(containers), "volumes": named}
    return parse("one", {**document, "state": {"history": list(history)}})


def found(
    facts: HostFacts, *mounts: Mounting, others: tuple[str, ...] = (), known: Known = PROD
) -> list[tuple[str, bool]]:
    left = left_behind(STACK, rendering(*mounts), "shop-prod", others, facts, known)
    return [(one.what, one.database) for one in left]


RUNNING = host(container("db", "shop-prod_data", "/db"), volumes=("shop-prod_data",))


def test_what_stays_where_it_is_is_not_mentioned() -> None:
    assert found(RUNNING, DB) == []
    assert found(host(), DB) == [], "a first deploy"
    assert found(HostFacts("one"), DB) == [], "no Docker yet"
    bound = host(container("web", "/srv/files/", "/files"))
    assert found(bound, replace(WEB, type="bind", source="/srv/files")) == []
    assert found(bound, replace(WEB, type="bind", source="../../files")) == []
    release = f"/opt/canaryctl/shop/releases/{'1' * 64}-00000000/assets"
    assert found(host(container("web", release, "/files")), WEB) == []
    assert found(host(container("web", "shop-prod_conf", "/conf", rw=False)), WEB) == []
    assert found(host(container("db", ANONYMOUS, "/cache")), DB) == [], "compose keeps volumes without a name"
    there = host(container("db", "acme_data", "/db"), volumes=("acme_data", "shop-prod_of-secret"))
    assert found(there, replace(DB, source="${TENANT}_data")) == [], "only the host knows that secret"
    bound = host(container("db", "/srv/acme/db", "/db"))
    assert found(bound, replace(DB, type="bind", source="/srv/${TENANT}/db")) == []


def test_a_mount_whose_source_changes_needs_agreement_where_it_is_a_databases() -> None:
    ((said, database),) = found(RUNNING, replace(DB, source="shop-prod_pg"))
    assert database
    assert said == (
        "db has /db in volume shop-prod_data, and would have it in volume shop-prod_pg: what is there stays there"
    )
    assert (
        found(host(container("web", "shop-prod_files", "/files")), replace(WEB, source="shop-prod_new"))[0][1] is False
    )


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("shop-prod_data", [], "would have it in no volume"),
        ("/srv/db", [DB], "db has /db in the folder /srv/db"),
        ("shop-prod_data", [replace(DB, type="bind", source="/srv/db")], "would have it in the folder /srv/db"),
        (ANONYMOUS, [DB], "a volume without a name (aaaaaaaaaaaa)"),
        ("shop-prod_data", [replace(DB, source="")], "would have it in a volume without a name"),
    ],
)
def test_kinds_of_moving(before: str, after: list[Mounting], words: str) -> None:
    ((said, database),) = found(host(container("db", before, "/db"), volumes=("shop-prod_data",)), *after)
    assert words in said and database


def test_databases_are_known_by_the_stack_by_their_image_and_by_where_they_write() -> None:
    moved = host(container("cache", "shop-prod_old", "/x"))
    assert found(moved, Mounting("cache", "volume", "shop-prod_new", "/x"))[0][1] is True
    pg = host(container("web", "shop-prod_old", "/var/lib/postgresql/data"))
    assert found(pg, Mounting("web", "volume", "shop-prod_new", "/var/lib/postgresql/data"))[0][1] is True


def test_an_environment_that_can_come_back_is_only_mentioned() -> None:
    there = host(container("db", "shop-canary_data", "/db", project="shop-canary"), volumes=("shop-canary_data",))
    for known in (Known(("prod", "canary")), Known()):
        ((said, database),) = found(there, DB, others=("shop-canary",), known=known)
        assert said.startswith("the data of shop-canary, whose place is taken, stays in volume shop-canary_data")
        assert not database


def test_an_environment_that_was_renamed_needs_agreement() -> None:
    there = host(container("db", "shop-live_data", "/db", project="shop-live"), volumes=("shop-live_data",))
    ((said, database),) = found(there, DB, others=("shop-live",))
    assert "there is no environment live any more" in said and database
    down = host(volumes=("shop-live_data",), history=[{"environment": "live"}])
    ((said, database),) = found(down, DB)
    assert said.endswith("shop-live, which is no environment any more, left shop-live_data") and database
    moved = host(volumes=("shop-live_data", "shop-prod_data"), history=[{"environment": "live"}])
    assert found(moved, DB) == [], "it has its own by now"
    assert found(host(volumes=("shop-live_data",)), DB) == [], "nothing says that it was this stack's"


def test_a_stack_that_was_renamed_needs_agreement() -> None:
    there = host(volumes=("store-prod_data", "other-prod_data"))
    assert found(there, DB) == [], "another stack's, for all that is known"
    ((said, database),) = found(there, DB, known=Known(("prod",), lambda: ("store",)))
    assert said.endswith("left store-prod_data") and database


def test_a_volume_that_was_renamed_while_nothing_ran_needs_agreement() -> None:
    ((said, database),) = found(host(volumes=("shop-prod_data",)), replace(DB, source="shop-prod_pg"))
    assert said == "shop-prod_pg is not there yet, and no service uses volume shop-prod_data any more" and database


def test_agreement_makes_a_note_of_it() -> None:
    left = [Left("one", "x", True), Left("one", "y", False)]
    notes, problems = data_problems(left, agreed=False)
    assert notes == ["one: y"]
    assert [(p.exit_code, p.where) for p in problems] == [(2, "one")] and "--leave-data" in problems[0].hint
    assert data_problems(left, agreed=True) == (["one: x", "one: y"], [])


def test_a_volume_without_a_name_hides_what_a_new_image_has_there() -> None:
    there = host(container("web", ANONYMOUS, "/static"))
    assert hidden_content(rendering(DB), "shop-prod", there, {"db"}) == []
    (said,) = hidden_content(rendering(DB), "shop-prod", there, {"web"})
    assert said.startswith("one: web keeps a volume without a name at /static")

"""All environments at a glance, and one host by host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from canaryctl.cli.status import overview_lines, status_lines
from canaryctl.commands.status import EnvironmentStatus, HostStatus, LostHost, ServiceStatus
from canaryctl.errors import ConfigError
from canaryctl.facts import LockFacts

ID = "a" * 64
ROW = EnvironmentStatus(
    environment="canary",
    stack="shop",
    release=ID,
    variant="split",
    replaced_by=[],
    since="2026-11-24T10:00:00Z",
    by="ann@desk",
    healthy=2,
    services=3,
    drift=False,
    lock=None,
    hosts={"one": HostStatus(release=ID)},
)


def test_an_overview_of_faulty_environments_alone_names_their_faults() -> None:
    error = ConfigError("not valid YAML", "stack.yml:2", "fix it")
    assert overview_lines({"a": error, "long": error}) == ["a  faulty: not valid YAML", "long  faulty: not valid YAML"]
    assert overview_lines({}) == ["there are no environments"]


def row(**more: Any) -> EnvironmentStatus:
    return replace(ROW, **more)


def said(**environments: EnvironmentStatus | ConfigError) -> str:
    return "\n".join(overview_lines(environments))


def test_an_environment_is_a_line() -> None:
    (line,) = said(canary=row()).splitlines()
    for words in (
        "canary",
        f"{ID[:12]} (split)",
        "since 2026-11-24 10:00:00 by ann@desk",
        "2 of 3 healthy",
        "drift: no",
    ):
        assert words in line


def test_drift_locks_and_lost_hosts_are_said() -> None:
    lost = {"one": LostHost("gone")}
    line = said(canary=row(drift=True, lock=LockFacts("bob@desk"), hosts=lost))
    assert "drift: yes, locked by bob@desk, unreachable: one" in line
    assert "drift: unknown" in said(canary=row(drift=None))


def test_nothing_served_faulty_files_and_other_environments_have_words() -> None:
    nothing = row(release=None, since=None, hosts={"one": HostStatus()})
    assert "no release" in said(a=nothing)
    two = {"one": HostStatus(release=ID), "two": HostStatus(release="b" * 64)}
    assert "different releases" in said(a=row(release=None, hosts=two))
    assert "faulty: no hosts" in said(a=ConfigError("no hosts"), b=row())
    assert "its hosts serve fleet" in said(a=row(replaced_by=["fleet"]))
    assert said() == "there are no environments"


def test_columns_are_in_line_and_a_faulty_environment_takes_no_room() -> None:
    fault = ConfigError("what is wrong with it takes a whole line")
    first, _, other = overview_lines({"a": row(), "b": fault, "longer": row(variant="one", healthy=3)})
    assert first.index("since") == other.index("since") and first.index("of 3") == other.index("of 3")


def test_one_environment_is_said_host_by_host() -> None:
    last = {"what": "verdict", "time": "2026-11-24T10:05:00.1Z", "who": "ann@desk", "unsigned": "it is not signed"}
    web = ServiceStatus("running", "healthy", "web:1", "shop-canary", 2)
    served = HostStatus(
        ID, "fleet", "split", "2026-11-24T10:00:00Z", "ann@desk", ["web runs another image"], {"web": web}, ["db"],
        ["Docker is missing"], lock=LockFacts("bob@desk"), last=last,
    )  # fmt: skip
    lines = status_lines(row(release=None, hosts={"one": served, "two": LostHost("no route"), "three": HostStatus()}))
    assert lines == [
        "shop on canary: no one release",
        f"  one: release {ID[:12]} (split) of environment fleet since 2026-11-24 10:00:00 by ann@desk, "
        "last verdict 2026-11-24 10:05:00 by ann@desk, proves nothing by itself: it is not signed",
        "    drift: web runs another image",
        "    locked by bob@desk",
        "    Docker is missing",
        "    web                    running, healthy, 2 restarts  web:1",
        "    db                     not there",
        "  two: unreachable: no route",
        "  three: no release",
    ]

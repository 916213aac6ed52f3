"""How long services were away: from Docker's events, and from what is left to know where those are lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import rolemodules  # noqa: F401  finds the roles' module_utils

outage = import_module("ansible.module_utils.outage")
watch = import_module("ansible.module_utils.watch")
ISSUE = 100.0  # when the work began
Box = dict[str, Any]


def written(second: float | None) -> str:
    """As Docker writes it."""
    if second is None:
        return "0001-01-01T00:00:00Z"
    return datetime.fromtimestamp(second, UTC).isoformat().replace("+00:00", "Z")


def box(
    one: str = "old",
    *,
    service: str = "web",
    started: float | None = 10,
    finished: float | None = None,
    status: str = "running",
    health: str | None = "healthy",
    checks: tuple[tuple[float, int], ...] = (),
    code: int = 0,
) -> Box:
    """A container as `docker inspect` tells of it; `checks` are its last ones, when and with which code they ended."""
    state: Box = {"Status": status, "Running": status == "running", "Restarting": status == "restarting"}
    state |= {"StartedAt": written(started), "FinishedAt": written(finished), "ExitCode": code, "Pid": 0}
    if health is not None:
        log = [{"Start": written(end - 0.1), "End": written(end), "ExitCode": code} for end, code in checks]
        state["Health"] = {"Status": health, "Log": log}
    return {"Id": one, "State": state, "Config": {"Labels": {"com.docker.compose.service": service}}}


def event(action: str, second: float, one: str = "old", service: str = "web", **more: str) -> Box:
    labels = {"com.docker.compose.service": service, "com.docker.compose.oneoff": "False", **more}
    return {"Action": action, "timeNano": int(second * 1e9), "Actor": {"ID": one, "Attributes": labels}}


def bare(one: str, **more: Any) -> Box:
    return box(one, health=None, **more)


REPLACED = [event("kill", 101, signal="15"), event("die", 102), event("start", 103, "new")]
HEALTHY = event("health_status: healthy", 105.5, "new")
NEW = box("new", started=103, checks=((103.5, 1), (105.5, 0)))
SICK = box("new", started=103, health="unhealthy", checks=((103.5, 1), (104, 1)))
GONE = box(status="exited", finished=40, health="unhealthy")
CASES: dict[str, tuple[Any, ...]] = {
    # before, events, after, what else is known; what is told
    "replaced": ([box()], [*REPLACED, HEALTHY], [NEW], {}, (101, 105.5)),
    "no health check": ([bare("old")], REPLACED, [bare("new", started=103)], {}, (101, 103)),
    "the new one has none": ([box()], REPLACED, [bare("new", started=103)], {}, (101, 103)),
    "never healthy": ([box()], [*REPLACED, event("health_status: unhealthy", 110, "new")], [SICK], {}, (101, None)),
    "crashes again and again": (
        [bare("old")],
        [*REPLACED, event("die", 104, "new"), event("start", 105, "new")],
        [bare("new", started=105, status="restarting")],
        {},
        (101, None),
    ),
    "stops once more": (
        [box()],
        [*REPLACED, HEALTHY, event("die", 106, "new"), event("start", 107, "new")],
        [box("new", started=107, checks=((109, 0),))],
        {},
        (101, 109),
    ),
    "untouched": ([box()], [], [box()], {}, None),
    "told to read its files anew": ([box()], [event("kill", 101, signal="1")], [box()], {}, None),
    "a first start": ([], [event("start", 103, "new"), HEALTHY], [NEW], {}, (None, 105.5)),
    "it heeds no signal": ([box()], [*REPLACED, HEALTHY], [NEW], {"deaf": {"old"}}, (102, 105.5)),
    "it is killed in the end": (
        [box()],
        [event("kill", 101, signal="15"), event("kill", 111, signal="9"), event("start", 112, "new"), HEALTHY],
        [NEW],
        {"deaf": {"old"}},
        (111, 105.5 + 5.5),  # never negative
    ),
    "a job that is done": (
        [bare("old", status="exited")],
        [event("start", 103, "new"), event("die", 104, "new")],
        [bare("new", started=103, finished=104, status="exited")],
        {},
        None,
    ),
    "another's place": ([], [event("die", 101, "x"), event("start", 103, "new"), HEALTHY], [NEW], {}, (101, 105.5)),
    # Events are lost: Docker keeps 256, and none when it dies.
    "no event at all": ([box()], [], [NEW], {}, (100, 105.5)),
    "no return": ([box()], REPLACED, [NEW], {}, (101, 105.5)),
    "no return, checked for long": (
        [box()],
        REPLACED,
        [box("new", started=103, checks=tuple((second, 0) for second in range(120, 125)))],
        {},
        (101, 120),
    ),
    "Docker died, and started it again": (
        [box()],
        [],
        [box(started=125, finished=124, checks=((126, 0),))],
        {"lost": 120},
        (124, 126),
    ),
    "Docker died, and it is not back": ([box()], [], [box(finished=124, status="exited")], {"lost": 120}, (124, None)),
    # Seen on a lab host: dockerd was killed in the moment in which it had stopped the container.
    "Docker died, and does not know": (
        [box()],
        [],
        [box(finished=124, status="exited", code=255)],
        {"lost": 120},
        (120, None),
    ),
    "Docker died, and it is gone": ([box()], [], [NEW], {"lost": 102}, (102, 105.5)),
    "Docker died after it was back": (
        [box()],
        [*REPLACED, HEALTHY],
        [box("new", started=130, finished=129, checks=((131, 0),))],
        {"lost": 120},
        (101, 131),
    ),
    "Docker died, nothing else did": ([box()], [], [box()], {"lost": 120}, None),
    "Docker is away": ([box()], REPLACED, None, {"lost": 104}, (101, None)),
    "Docker is away, it told nothing": ([box()], [], None, {"lost": 104}, (104, None)),
    "Docker is slow": ([box()], [], None, {}, None),
    # An earlier change has left it so.
    "away since a failed start": (
        [SICK],
        [event("kill", 130, "new"), event("start", 131, "third"), event("health_status: healthy", 133, "third")],
        [box("third", started=131, checks=((133, 0),))],
        {"carried": {"away": {"web": 60.0}, "served": {}}},
        (60, 133),
    ),
    "the power went": (
        [box(status="exited", finished=99)],  # Docker's note is of when the host was up again
        [event("start", 101), event("health_status: healthy", 103)],
        [box(started=101, finished=99, checks=((103, 0),))],
        {"carried": {"away": {}, "served": {"web": 50.0}}},
        (50, 103),
    ),
    "stopped while nobody looked": (
        [box(status="exited", finished=40)],
        [event("start", 101), event("health_status: healthy", 103)],
        [box(started=101, finished=40, checks=((103, 0),))],
        {"carried": {"away": {}, "served": {"web": 50.0}}},
        (40, 103),
    ),
    "was never away": ([box()], [], [box()], {"carried": {"away": {"web": 60.0}, "served": {}}}, None),
    "back before this work": (
        [box()],
        [*REPLACED, HEALTHY],
        [NEW],
        {"carried": {"away": {"web": 60.0}, "served": {}}},
        (101, 105.5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_how_long_a_service_was_away(case: str) -> None:
    before, events, after, known, span = CASES[case]
    found = outage.gaps(before, events, after, began=ISSUE, **known).get("web")
    assert (found and (found["from"], found["until"])) == span


def test_of_one_that_was_found_stopped_the_moment_is_told() -> None:
    found = outage.gaps([box(status="exited", finished=40)], [HEALTHY], [NEW], began=ISSUE)
    assert found == {"web": {"from": None, "until": 105.5, "since": 40.0}}
    assert outage.gaps([GONE], [], [NEW], began=ISSUE)["web"]["since"] == 40.0
    sick = box(health="unhealthy", finished=5, started=6)  # it may have been well since it was started
    assert outage.gaps([sick], [], [NEW], began=ISSUE)["web"]["since"] is None
    starting = box(health="starting", finished=95, started=96)
    assert outage.gaps([starting], [], [box(checks=((104, 0),))], began=ISSUE)["web"]["since"] == 95.0


def carried(*, away: float | None = None, served: float | None = None, started: float = 0.0) -> dict[str, Any]:
    """What an earlier look left of web."""
    known = {"away": away, "served": served, "started": None if served is None else started}
    return {kind: {} if moment is None else {"web": moment} for kind, moment in known.items()}


BACK = box(started=70, finished=65, checks=((72, 0),))


@pytest.mark.parametrize(
    ("left", "earlier"),
    [
        (carried(), None),
        (carried(away=60.0), [60.0, 72.0]),
        (carried(away=71.0), None),  # Docker could not be asked then: it has never been away
        (carried(served=90.0, started=70.0), None),
        (carried(served=90.0, started=20.0), [65.0, 72.0]),
        (carried(served=60.0, started=20.0), [60.0, 72.0]),  # the power went
        (carried(served=60.0), [60.0, 72.0]),
        (carried(served=90.0), None),
    ],
)
def test_what_was_away_between_two_looks_is_told_besides(left: dict[str, Any], earlier: list[float] | None) -> None:
    told = outage.gaps([BACK], [], [BACK], began=ISSUE, carried=left).get("web")
    assert told == (earlier and {"from": None, "until": None, "earlier": earlier})
    told = outage.gaps([BACK], [*REPLACED, HEALTHY], [NEW], began=ISSUE, carried=left)["web"]
    assert (told["from"], told["until"], told.get("earlier")) == (101, 105.5, earlier)
    away = outage.in_all({"web": None}, {"canary_gaps": {"web": told}})
    assert away == {"web": 4.5 + (earlier[1] - earlier[0] if earlier else 0)}


def test_one_of_two_is_enough() -> None:
    before = [box("a"), box("b")]
    one = [event("die", 101, "a"), event("start", 102, "c"), event("health_status: healthy", 103, "c")]
    after = [box("b"), box("c", started=102)]
    assert outage.gaps(before, one, after, began=ISSUE) == {}
    both = [event("die", 101, "a"), event("die", 102, "b"), *one[1:]]
    assert outage.gaps(before, both, after[1:], began=ISSUE)["web"]["from"] == 102


def test_containers_of_one_command_serve_nobody() -> None:
    once = event("die", 101, "x", **{"com.docker.compose.oneoff": "True"})
    assert outage.gaps([], [once], [], began=ISSUE) == {}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:01:40.5Z", 100.5),
        ("1970-01-01T01:01:40.25+01:00", 100.25),
        ("1969-12-31T22:31:40-01:30", 100.0),
        ("0001-01-01T00:00:00Z", None),
        ("soon", None),
        (None, None),
        (7, None),
    ],
)
def test_a_moment_of_dockers(text: Any, moment: float | None) -> None:
    assert outage.moment_of(text) == moment


def test_times_add_up_over_several_tries() -> None:
    gone: dict[str, dict[str, Any]] = {
        "canary_gaps": {"web": {"from": 1, "until": 3}, "store": {"from": 1, "until": None}}
    }
    away = outage.in_all({}, gone)
    assert away == {"web": 2, "store": None}
    back = {"web": {"from": 10, "until": 11.5}, "store": {"from": 1, "until": 21}, "new": {"from": None, "until": 5}}
    assert outage.in_all(away, {"canary_gaps": back}) == {"web": 3.5, "store": 20}
    assert outage.in_all(away, {"failed": True}) == away


def note(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A watch over a web that serves, where no Docker tells anything: events are given to it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text("#!/bin/sh\nexec sleep 60\n")
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(*before: Box) -> Any:
        return watch.Watch(["shop-prod"], list(before), 60, tmp_path / "away.json")

    return make


def ours(what: str, second: float, one: str = "old") -> Box:
    return event(what, second, one, **{"com.docker.compose.project": "shop-prod"})


def test_what_is_heard_is_noted_at_once_and_goes_on_in_the_next_look(listening: Any, tmp_path: Path) -> None:
    path = tmp_path / "away.json"
    with listening(box(), box("db", service="db", health=None)) as heard:
        assert note(path) == {"served": {"db": 10.0, "web": 10.0}, "away": {}}
        began = heard.began
        heard.take(ours("kill", began + 1))
        heard.take(event("kill", began + 1, "x", "db", **{"com.docker.compose.project": "another"}))
        heard.take(ours("die", began - 1))  # of before
        assert note(path) == {"served": {"db": 10.0}, "away": {"web": pytest.approx(began + 1)}}
        heard.take(ours("start", began + 2, "new"))
        assert note(path)["away"]  # it has a health check
    # Here the power went.
    with listening(SICK) as heard:
        assert note(path) == {
            "served": {},
            "away": {"web": pytest.approx(began + 1), "db": pytest.approx(began, abs=9)},
        }
        found = heard.gaps([box("new", started=began + 4)], whole=True)
    assert found["web"]["from"] == pytest.approx(began + 1) and found["web"]["until"] == pytest.approx(began + 4)
    assert note(path) == {"served": {"web": pytest.approx(began + 4)}, "away": {}}


def test_a_clock_that_is_set_changes_no_gap(listening: Any) -> None:
    with listening(box()) as heard:
        heard.take(ours("die", heard.began + 3600))
        assert heard.events[0]["timeNano"] / 1e9 == pytest.approx(heard.now(), abs=2)


def test_nobody_listens_afterwards(listening: Any) -> None:
    with listening(box()) as heard:
        assert heard.child.poll() is None
    assert heard.child.poll() is not None and not heard.listener.is_alive() and heard.lost is None


def test_that_docker_ceases_to_tell_is_known(listening: Any) -> None:
    with listening(box()) as heard:
        heard.child.kill()
        heard.listener.join(10)
        assert heard.lost == pytest.approx(heard.now(), abs=5)
        assert heard.gaps(None)["web"] == {"from": heard.lost, "until": None}


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"away": 5}', '{"away": {"web": "x"}, "served": {}}'])
def test_a_note_that_cannot_be_read_says_nothing(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "away.json"
    if content is not None:
        path.write_text(content)
    assert watch.read_note(path)["served"] == {} and watch.read_note(None) == {"away": {}, "served": {}, "started": {}}


def test_a_note_without_room_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "away.json"
    watch.write_note(path, {"db": 3.0}, {})

    def full(self: Path, text: str, **_: Any) -> int:
        self.write_bytes(b"{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    watch.write_note(path, {}, {"db": 4.0})
    assert [file.name for file in tmp_path.iterdir()] == ["away.json"]
    assert watch.read_note(path)["started"] == {"db": 3.0}


def test_what_stops_after_a_change_is_settled_is_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "away.json"
    watch.write_note(path, {"db": 3.0}, {"web": 5.0})
    os.utime(path, (7, 7))
    assert watch.read_note(path) == {"away": {"web": 5.0}, "served": {"db": 7.0}, "started": {"db": 3.0}}
    watch.beat(path)
    assert watch.read_note(path)["served"]["db"] > 7
    watch.rest(path)
    assert watch.read_note(path) == {"away": {"web": 5.0}, "served": {}, "started": {}}


@pytest.mark.parametrize(
    ("program", "asked", "deaf"),
    [
        ("pass", "", True),
        ("signal.signal(signal.SIGTERM, lambda *_: None)", "", False),
        ("signal.signal(signal.SIGTERM, lambda *_: None)", "SIGQUIT", True),
        ("signal.signal(signal.SIGQUIT, lambda *_: None)", "QUIT", False),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])", "15", False),  # an init waits for it
        ("pass", "SIGWHAT", False),
    ],
)
def test_which_container_heeds_the_signal_that_stops_it(program: str, asked: str, deaf: bool) -> None:
    code = f"import signal, sys; {program}; print('on', flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"on\n"
        container = {"State": {"Pid": child.pid}, "Config": {"StopSignal": asked}}
        assert watch.is_deaf(container) is deaf
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert not watch.is_deaf({"State": {"Pid": 0}, "Config": {}})

"""Taking, renewing and releasing locks as a host does it, in a directory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from canaryctl.agent.read import held
from canaryctl.agent.write import lock
from canaryctl.facts.lock import LockFacts, parse_lock
from canaryctl.hosts.ask import bundle


def claim(token: str, **changes: Any) -> dict[str, Any]:
    holder = {"holder": f"{token}@laptop", "environment": "canary", "command": "deploy", "message": "", "run": "r"}
    return {**holder, "token": token, "ttl": 60.0, "held": False, **changes}


def take(*paths: Path, token: str, displace: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    order = {"paths": [str(path) for path in paths], "holder": claim(token, **changes), "displace": displace or []}
    return lock.acquire(order)


def token_of(path: Path) -> str:
    """The token, of those in these tests, that the lock was taken with."""
    content = json.loads((path / "holder.json").read_text())
    tokens = ("a", "b", "c", "me", "dead", "sleeper", *(f"t{number}" for number in range(12)))
    assert "token" not in content
    return next(token for token in tokens if content["owner"] == held.digest_of(token))


def rewrite(path: Path, **changes: Any) -> None:
    file = path / "holder.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def age(path: Path, seconds: float) -> None:
    """Have so many seconds gone by since the lock was renewed."""
    found = json.loads((path / "holder.json").read_text())
    rewrite(path, renewed=found["renewed"] - seconds, up=found["up"] - seconds)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop" / "lock"


def test_the_second_is_told_who_was_first_and_not_the_token(path: Path) -> None:
    assert take(path, token="a")["holder"] is None
    refused = take(path, token="b")
    assert (refused["path"], refused["holder"]["holder"]) == (str(path), "a@laptop")
    assert "token" not in refused["holder"] and token_of(path) == "a"


def test_what_was_changed_beside_the_lock_before_is_dated(path: Path) -> None:
    assert take(path, token="a")["touched"] == 0  # nobody was ever here
    lock.release({"paths": [str(path)], "token": "a", "marks": []})
    (path.parent / "releases").mkdir(parents=True)
    assert take(path, token="b")["touched"] == pytest.approx(time.time(), abs=5)


def test_an_expired_lock_makes_way_and_is_named(path: Path) -> None:
    take(path, token="dead")
    age(path, 61)
    answer = take(path, token="b")
    assert answer["holder"] is None and token_of(path) == "b"
    (gone,) = answer["displaced"]
    assert gone["holder"] == "dead@laptop" and gone["expired"]


@pytest.mark.parametrize("jump", [3600, -3600])
def test_a_clock_that_jumps_neither_ends_a_lock_nor_prolongs_it(path: Path, jump: float) -> None:
    take(path, token="a")
    rewrite(path, renewed=time.time() - jump)  # as it stands there once the clock was set
    refused = take(path, token="b")["holder"]
    assert refused["holder"] == "a@laptop" and not refused["expired"]
    assert refused["renewed"] == pytest.approx(time.time(), abs=5) and refused.keys() & {"boot", "up"} == set()
    found = json.loads((path / "holder.json").read_text())
    rewrite(path, up=found["up"] - 61)
    assert take(path, token="b")["holder"] is None and token_of(path) == "b"


@pytest.mark.parametrize("stamp", [{"boot": "an earlier one"}, {"up": None}, {"boot": "", "up": "x"}, {"up": 1e18}])
def test_of_another_start_of_the_host_its_clock_is_what_there_is(path: Path, stamp: dict[str, Any]) -> None:
    take(path, token="a")
    rewrite(path, **stamp)
    assert take(path, token="b")["holder"]["holder"] == "a@laptop"
    rewrite(path, renewed=time.time() - 61)
    assert take(path, token="b")["holder"] is None


def test_a_lock_that_an_older_version_wrote_is_known_by_its_token(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "holder.json").write_text(json.dumps({**claim("a"), "renewed": time.time()}))
    held.require_locks([{"path": str(path), "owner": held.digest_of("a")}])
    refused = take(path, token="b")["holder"]
    assert refused["holder"] == "a@laptop" and refused["mark"] == held.digest_of("a")[:16]
    assert lock.renew({"paths": [str(path)], "token": "a"}) == {"lost": {}}
    assert lock.release({"paths": [str(path)], "token": "a", "marks": []})["released"]


def test_what_a_killed_run_began_is_cleared_away(path: Path) -> None:
    path.with_name("lock.new-0123456789abcdef").mkdir(parents=True)
    take(path, token="a")
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_renewed_lock_does_not_expire(path: Path) -> None:
    take(path, token="a")
    age(path, 59)
    assert lock.renew({"paths": [str(path)], "token": "a"}) == {"lost": {}}
    assert time.time() - json.loads((path / "holder.json").read_text())["renewed"] < 5
    assert take(path, token="b")["holder"]["holder"] == "a@laptop"


def test_a_sleeper_whose_lock_was_taken_learns_who_has_it(path: Path) -> None:
    take(path, token="sleeper")
    age(path, 3600)
    take(path, token="b")
    (holder,) = lock.renew({"paths": [str(path)], "token": "sleeper"})["lost"].values()
    assert holder["holder"] == "b@laptop" and token_of(path) == "b"
    with pytest.raises(held.LockLost) as lost:
        held.require_locks([{"path": str(path), "owner": held.digest_of("sleeper")}])
    assert lost.value.holder and lost.value.holder["holder"] == "b@laptop"
    held.require_locks([{"path": str(path), "owner": held.digest_of("b")}])


def test_only_the_lock_that_was_shown_is_broken(path: Path) -> None:
    take(path, token="a")
    mark = take(path, token="me")["holder"]["mark"]
    lock.release({"paths": [str(path)], "token": "a", "marks": []})
    take(path, token="c")  # came in between
    assert take(path, token="me", displace=[mark])["holder"]["holder"] == "c@laptop"
    assert take(path, token="me", displace=[take(path, token="me")["holder"]["mark"]])["holder"] is None
    assert token_of(path) == "me"


def test_of_several_locks_all_are_taken_or_none(tmp_path: Path) -> None:
    stack, host = tmp_path / "shop" / "lock", tmp_path / ".lock"
    take(host, token="a")
    refused = take(stack, host, token="b")
    assert refused["path"] == str(host) and not stack.exists() and token_of(host) == "a"
    lock.release({"paths": [str(host)], "token": "a", "marks": []})
    assert take(stack, host, token="b")["holder"] is None and token_of(stack) == token_of(host) == "b"


def test_nobody_releases_what_is_not_theirs(path: Path) -> None:
    take(path, token="a")
    assert lock.release({"paths": [str(path)], "token": "b", "marks": []}) == {"released": []}
    mark = held.about_lock(str(path))["mark"]  # type: ignore[index]
    (gone,) = lock.release({"paths": [str(path)], "token": "", "marks": [mark]})["released"]
    assert gone["holder"] == "a@laptop" and not path.parent.exists()


def test_taking_again_what_one_has_is_no_conflict(path: Path) -> None:
    take(path, token="a")
    answer = take(path, token="a")
    assert (answer["holder"], answer["displaced"], token_of(path)) == (None, [], "a")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_lock_that_cannot_be_read_is_in_the_way_until_it_is_old(path: Path, content: str) -> None:
    path.mkdir(parents=True)
    (path / "holder.json").write_text(content)
    assert take(path, token="a")["holder"]["holder"] == "somebody unknown"
    os.utime(path / "holder.json", (0, 0))
    assert take(path, token="a")["holder"] is None and token_of(path) == "a"


@pytest.mark.parametrize("before", ["free", "expired"])
def test_of_many_at_once_one_gets_it(path: Path, before: str) -> None:
    if before == "expired":
        take(path, token="dead")
        age(path, 3600)
    start, answers = threading.Barrier(12), {}

    def run(number: int) -> None:
        start.wait()
        answers[f"t{number}"] = take(path, token=f"t{number}")["holder"]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [token for token, holder in answers.items() if holder is None]
    assert len(winners) == 1 and token_of(path) == winners[0]
    assert {holder["holder"] for holder in answers.values() if holder} == {f"{winners[0]}@laptop"}
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["lock"]


def test_of_many_processes_at_once_one_gets_it(path: Path) -> None:
    def start(token: str) -> subprocess.Popen[bytes]:
        config = {"root": "/", "action": "acquire", "paths": [str(path)], "holder": claim(token), "displace": []}
        source = bundle("lock") + f"\nanswer_lock(json.loads({json.dumps(config)!r}))\n"
        return subprocess.Popen([sys.executable, "-ISc", source, "none", ""], stdout=subprocess.PIPE)

    answers = [json.loads(child.communicate(timeout=30)[0]) for child in [start(f"p{number}") for number in range(4)]]
    assert sorted(bool(answer["holder"]) for answer in answers) == [False, True, True, True]


def test_a_host_that_cannot_keep_a_lock_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop").write_text("a file where the stack's folder would be")
    order = {"action": "acquire", "paths": [str(tmp_path / "shop" / "lock")], "holder": claim("a"), "displace": []}
    before = os.umask(0o022)
    lock.answer_lock(order)
    os.umask(before)
    assert "shop" in json.loads(capsys.readouterr().out)["error"]


def test_a_lock_in_words_says_who_since_when_and_why() -> None:
    seen = LockFacts(
        "dev@box", "canary", "lock acquire", "disk swap", "", "", "2026-11-24T08:00:00Z", 1795507200, 3600, True
    )
    assert seen.words() == "dev@box for environment canary since 2026-11-24T08:00:00Z (lock acquire): disk swap"
    assert seen.expires == "2026-11-24T09:00:00Z"
    assert parse_lock({**seen.as_dict(), "unknown": 1}) == seen and parse_lock(None) is None


def test_a_lock_takes_along_the_empty_directories_made_for_it_and_no_others(tmp_path: Path) -> None:
    root = tmp_path / "opt" / "canaryctl"
    (tmp_path / "opt").mkdir()
    path = str(root / "shop" / "lock")
    order = {"paths": [path], "holder": claim("a"), "displace": []}
    lock.acquire(order)
    lock.acquire({**order, "paths": [str(root / ".lock")]})
    lock.release({"paths": [path, str(root / ".lock")], "token": "a", "marks": []})
    assert list(tmp_path.rglob("*")) == [tmp_path / "opt"]

    root.mkdir()  # its owner's
    lock.acquire(order)
    (root / "shop" / "history.jsonl").write_text("")
    lock.release({"paths": [path], "token": "a", "marks": []})
    assert sorted(tmp_path.rglob("*"))[1:] == [root, root / "shop", root / "shop" / "history.jsonl"]


def test_who_finds_no_room_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lock, "write_atomic", full)
    with pytest.raises(OSError, match="No space"):
        take(tmp_path / "root" / "shop" / "lock", token="a")
    assert list(tmp_path.iterdir()) == []

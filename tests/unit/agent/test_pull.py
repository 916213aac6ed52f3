"""What the pulling program makes of Docker's answers; Docker's socket is the lab's matter."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from canaryctl.agent.read.docker import trouble_words
from canaryctl.agent.write import pull
from canaryctl.agent.write.pull import Refused, follow, heard, message_of, wrong

LAYERS = ["sha256:1", "sha256:2"]
IMAGE = {"id": "sha256:config", "source": "reg.test/web@sha256:manifest", "layers": LAYERS, "tag": "canaryctl/a/b:c"}


@pytest.mark.parametrize(
    ("found", "good"),
    [
        ({"Id": "sha256:config", "RootFS": {"Layers": LAYERS}}, True),
        ({"Id": "sha256:manifest", "RootFS": {"Layers": LAYERS}}, True),  # as containerd's store names it
        ({"Id": "x", "Descriptor": {"digest": "sha256:manifest"}, "RootFS": {"Layers": LAYERS}}, True),
        ({"Id": "sha256:other", "RootFS": {"Layers": LAYERS}}, False),
        ({"Id": "sha256:config", "RootFS": {"Layers": LAYERS[:1]}}, False),
        ({"Id": "sha256:config"}, False),
        (None, False),
    ],
)
def test_an_image_is_the_one_that_the_registry_promised(found: dict[str, Any] | None, good: bool) -> None:
    assert (wrong(found, IMAGE) == "") is good


@pytest.mark.parametrize(
    ("body", "text"),
    [(b'{"message": "no room"}', "no room"), (b"plain words\n", "plain words"), (b"{}", "{}"), (b"", "no answer")],
)
def test_dockers_reason_is_its_message(body: bytes, text: str) -> None:
    assert message_of(body) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError("timed out"), "Docker does not answer in time"),
        (OSError(), "OSError"),
        (ConnectionRefusedError(111, "Connection refused"), "[Errno 111] Connection refused"),
    ],
)
def test_no_answer_is_said_to_be_dockers(error: Exception, text: str) -> None:
    assert trouble_words(error) == text


def test_how_far_a_pull_is_adds_up_over_its_layers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pull, "REPORT_EVERY", -1)
    events = [
        {"status": "Pulling from web"},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 3, "total": 10}},
        {"status": "Downloading", "id": "b", "progressDetail": {"total": 5}},
        {"status": "Downloading", "id": "c"},  # of no known size
        {"status": "Download complete", "id": "a"},
        {"status": "Download complete", "id": "c"},
    ]
    follow(iter(events), "sha256:config")
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(report["bytes"], report["total"]) for report in reports] == [
        (0, 0), (3, 10), (3, 15), (3, 15), (10, 15), (10, 15)
    ]  # fmt: skip
    assert {report["image"] for report in reports} == {"sha256:config"}


def test_a_pull_that_fails_on_the_way_is_refused_with_dockers_words() -> None:
    with pytest.raises(Refused, match="no space left"):
        follow(iter([{"status": "Downloading"}, {"error": "no space left on device"}]), "sha256:config")


def test_a_quiet_docker_is_waited_for_while_somebody_listens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.02)
        pieces = heard(ours)
        theirs.sendall(b"one")
        assert next(pieces) == b"one"

        def late(document: object) -> None:
            assert document is None  # an empty line asks whether anybody is there
            theirs.sendall(b"two")

        monkeypatch.setattr(pull, "tell", late)
        assert next(pieces) == b"two"
        theirs.close()
        assert list(pieces) == []


def test_a_docker_that_says_nothing_any_more_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pull, "STALLED", 0.1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.02)
        theirs.sendall(b"one")
        pieces = heard(ours)
        assert next(pieces) == b"one"
        with pytest.raises(Refused, match="nothing came for"):
            next(pieces)


def test_who_hung_up_ends_the_pull(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_text: str) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("sys.stdout.write", gone)
    with pytest.raises(SystemExit):
        pull.tell(None)

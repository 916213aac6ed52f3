"""What a push makes of a host's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded import Recorded

from canaryctl.errors import ApplyError, CanaryError, HostError, LockedError
from canaryctl.facts.host import DockerFacts, HostFacts
from canaryctl.hosts import CommandTimeout
from canaryctl.images.destination import Destination
from canaryctl.images.layers import Layers
from canaryctl.images.pull import pull_images
from canaryctl.images.push import Delivery, Limiter, missing_bytes, push_images
from canaryctl.images.streams import LayerStream, Packed
from canaryctl.images.transfer import Transfer
from canaryctl.plan.release import ImageFact

LAYER = f"sha256:{'a' * 64}"
IMAGE = ImageFact("web", f"sha256:{'1' * 64}", "shop/web:1", size=1, layers=(LAYER,), platform="linux/amd64")
NOTHING_MISSING = {"missing": [], "staged": {}, "disks": {"/docker": [10**12, 1]}}
LAYER_MISSING = {"missing": [LAYER], "staged": {LAYER: [3, "0" * 64]}, "disks": {"/docker": [10**12, 1]}}
HOLDER = {"holder": "eve@box", "renewed": 1}


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layers:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(Layers, "config", lambda self, image: b"{}")
    (tmp_path / "layer").write_bytes(b"content")
    layers, stream = Layers([]), LayerStream()
    stream.finish(Packed(tmp_path / "layer", 7, "f" * 64, 100))
    layers._work[LAYER, "zst"] = stream
    return layers


def facts() -> HostFacts:
    return HostFacts("alpha", docker=DockerFacts(version="28.0.1", root="/docker"))


def pushed(connection: Recorded, layers: Layers) -> Delivery:
    destination = Destination(connection, "shop", locks=[{"path": "/l", "owner": "mine"}])
    return push_images(destination, facts(), [IMAGE], layers, limiter=Limiter(), progress=lambda _: None)


def test_what_was_sent_is_told(layers: Layers) -> None:
    connection = Recorded([NOTHING_MISSING, {"images": {IMAGE.id: ""}}])
    assert pushed(connection, layers) == Delivery(("web",), skipped=1)
    assert b'"owner": "mine"' in connection.asked[0]


@pytest.mark.parametrize(
    ("answers", "error", "code"),
    [
        ([NOTHING_MISSING, {"error": "the lock /l is no longer held", "lost": HOLDER}], LockedError, 5),
        ([{"error": "the lock /l is no longer held", "lost": None}], LockedError, 5),
        ([NOTHING_MISSING, {"error": "no space left on device"}], ApplyError, 6),
        # words that only look like a reason to send all of it again
        ([NOTHING_MISSING, {"error": "No such file or directory: /opt/canaryctl/.incoming"}], ApplyError, 6),
        ([NOTHING_MISSING, {"error": "x", "whole": "yes"}], ApplyError, 6),
        ([NOTHING_MISSING, {"images": {IMAGE.id: "its layers differ"}}], ApplyError, 6),
        ([NOTHING_MISSING], HostError, 3),
    ],
)
def test_what_becomes_of_an_answer(
    layers: Layers, answers: list[dict[str, Any]], error: type[CanaryError], code: int
) -> None:
    connection = Recorded(answers)
    with pytest.raises(error) as caught:
        pushed(connection, layers)
    assert caught.value.exit_code == code and len(connection.asked) == 1


def test_a_docker_that_takes_nothing_less_gets_the_whole_archive_once(layers: Layers) -> None:
    refusal = {"error": '{"error": "open /layer.tar: no such file or directory"}', "whole": True}
    connection = Recorded([NOTHING_MISSING, refusal], [NOTHING_MISSING, {"images": {IMAGE.id: ""}}])
    assert pushed(connection, layers).way == "whole archive"
    connection = Recorded([NOTHING_MISSING, refusal], [NOTHING_MISSING, refusal])
    with pytest.raises(ApplyError):
        pushed(connection, layers)
    lost = {"error": "the lock /l is no longer held", "lost": HOLDER}
    with pytest.raises(LockedError):
        pushed(Recorded([NOTHING_MISSING, refusal], [lost]), layers)


def test_a_program_that_fails_is_the_hosts_fault(layers: Layers) -> None:
    with pytest.raises(HostError) as caught:
        pushed(Recorded([], code=1, complaint="SyntaxError"), layers)
    assert caught.value.where == "alpha" and "SyntaxError" in caught.value.what
    with pytest.raises(HostError) as caught:
        pushed(Recorded([NOTHING_MISSING], code=-1), layers)
    assert caught.value.what.endswith("was killed") and "Python" not in caught.value.hint


class Mute(Recorded):
    """A program that says what it was to say, hangs, and is given up."""

    idle: float | None = None

    def execute(self, command: str, chunks: Any, sink: Any, **more: Any) -> Any:
        super().execute(command, chunks, sink, **more)
        self.idle = more["idle"]
        raise CommandTimeout("`sh` said nothing for 60 s", self.host)


def test_a_program_that_gives_no_sign_of_life_is_the_hosts_fault_unless_it_has_said_why(layers: Layers) -> None:
    connection = Mute([NOTHING_MISSING])
    with pytest.raises(HostError, match="nothing was heard for 60 s") as caught:
        pushed(connection, layers)
    assert (caught.value.where, caught.value.exit_code, connection.idle) == ("alpha", 3, 60)
    with pytest.raises(ApplyError, match="its unpacking got no further") as failed:
        pushed(Mute([NOTHING_MISSING, {"error": "its unpacking got no further for 1800 s"}]), layers)
    assert (failed.value.host, failed.value.stage) == ("alpha", "push")
    with pytest.raises(HostError, match="nothing was heard for 60 s"):
        pull_images(Destination(Mute([]), "shop"), [], lambda _: None)


def test_what_would_be_sent_is_counted_without_what_is_there(layers: Layers) -> None:
    def missing(answer: dict[str, Any]) -> dict[str, int]:
        return missing_bytes(Destination(Recorded([answer]), "shop"), facts(), [IMAGE], layers)

    assert missing(NOTHING_MISSING) == {}
    assert missing(LAYER_MISSING) == {LAYER: 7}  # what is staged there is something else
    with pytest.raises(ApplyError):
        missing({"error": "Docker is not installed"})


def test_a_layer_that_arrives_damaged_is_packed_anew_by_the_next_push(layers: Layers, tmp_path: Path) -> None:
    """It may be ours that is damaged: of the right size, and not on the disk when the power went."""
    kept = [layers._place(LAYER, "zst"), layers._home / f"{'a' * 64}.zst.json"]
    for path in kept:
        path.write_text("{}")
    order = {"images": [{"name": "web", "layers": [LAYER]}], "form": "zst"}
    transfer = Transfer("alpha", layers, order, Limiter(), lambda _: None)
    transfer._streams[LAYER] = layers.ask(LAYER, "zst")
    with pytest.raises(ApplyError, match="damaged"):
        transfer._check({"ok": False, "layer": LAYER})
    assert not any(path.exists() for path in kept)

"""The pictures' geometry: bars where their stages were, layers as large as they are, nothing outside the frame."""

from __future__ import annotations

import pytest
from documents import deployed, failed

from canaryctl.evidence.pictures import image_pictures, readable, shares, timeline


def test_bars_lie_where_their_stages_ran() -> None:
    run = deployed("split")
    shown = timeline(run)
    lanes = {lane["name"]: {bar["stage"]: bar for bar in lane["bars"]} for lane in shown["lanes"]}
    assert list(lanes) == ["canary-1", "probes"]
    push = lanes["canary-1"]["push"]
    assert push["left"] == pytest.approx(17.0 / 59.5 * 100, abs=0.01)
    assert push["width"] == pytest.approx(22.9 / 59.5 * 100, abs=0.01)
    assert push["label"] == "push" and push["title"] == "push changed: 22.9 s, from 17.0 s"
    assert lanes["canary-1"]["collect"]["label"] == "" and lanes["canary-1"]["collect"]["width"] > 0
    assert lanes["probes"]["probe"]["left"] == pytest.approx(57.5 / 59.5 * 100, abs=0.01)
    assert shown["stages"] == ["provision", "push", "render", "migrate", "start", "collect"]


@pytest.mark.parametrize("run", [deployed("split"), deployed("monolithic"), failed()])
def test_nothing_leaves_the_frame(run: dict) -> None:  # type: ignore[type-arg]
    shown = timeline(run)
    pieces = [bar for lane in shown["lanes"] for bar in lane["bars"]]
    pieces += [part for image in image_pictures(run) for part in image["parts"]]
    assert pieces and all(p["left"] >= 0 and p["left"] + p["width"] <= 100.1 for p in pieces)
    assert 2 <= len(shown["ticks"]) <= 9 and all(tick["left"] <= 100 for tick in shown["ticks"])


def test_a_run_that_does_not_say_when_has_its_table_and_no_bars() -> None:
    run = deployed("split")
    run["stages"] = [{k: v for k, v in stage.items() if k != "started"} for stage in run["stages"]]
    shown = timeline(run)
    assert shown["lanes"] == [] and shown["cells"]["canary-1"]["push"]["seconds"] == 22.9


def test_layers_are_parts_of_the_largest_image() -> None:
    pictures = {image["name"]: image for image in image_pictures(deployed("split"))}
    assert pictures["worker_cpu"]["parts"][-1]["left"] + pictures["worker_cpu"]["parts"][-1]["width"] == pytest.approx(
        100, abs=0.1
    )
    backend = pictures["backend"]
    assert backend["services"] == ["backend"]
    assert len(backend["parts"]) == 3  # the fourth layer is too thin to be seen
    assert backend["layers"][0]["created_by"] == "ADD file:1f3c in /"


def test_an_image_without_known_layers_is_one_piece() -> None:
    run = deployed("split")
    run["release"]["images"] = {"db": {"id": "sha256:d", "tag": None, "size": 5}}
    (picture,) = image_pictures(run)
    assert [part["width"] for part in picture["parts"]] == [100.0] and picture["layers"] == []


@pytest.mark.parametrize(
    ("created_by", "said"),
    [
        ('/bin/sh -c #(nop)  CMD ["bash"]', 'CMD ["bash"]'),
        ("|1 TORCH=cpu /bin/sh -c pip install torch", "pip install torch"),
        ("RUN /bin/sh -c apt-get  update # buildkit", "/bin/sh -c apt-get update"),
        ("COPY . /app # buildkit", "COPY . /app"),
    ],
)
def test_what_made_a_layer_reads_well(created_by: str, said: str) -> None:
    assert readable(created_by) == said


def test_shares_are_of_the_largest() -> None:
    assert shares([5, None, 10]) == [50.0, 0.0, 100.0] and shares([None]) == [0.0] and shares([]) == []


def test_the_rollback_that_followed_is_in_the_timeline() -> None:
    run = failed()
    row = {"name": "rollback", "host": "core-1", "status": "changed", "seconds": 5.0, "started": run["finished"]}
    run["rollback"] = {"run": "r", "directory": "", "to": None, "verdict": "passed", "error": None, "gaps": []}
    assert "rollback" not in timeline(run)["stages"]
    run["rollback"]["stages"] = [row]
    shown = timeline(run)
    assert shown["stages"][-1] == "rollback" and shown["cells"]["core-1"]["rollback"] == row

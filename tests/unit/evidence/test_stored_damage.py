"""A run directory that was copied, cut or written by hand is shown as what it is."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from documents import deployed
from typer.testing import CliRunner

from canaryctl.cli.main import app
from canaryctl.errors import ConfigError
from canaryctl.evidence.document import new_document
from canaryctl.evidence.reading import damage_told, readable
from canaryctl.evidence.store import list_runs, load_run, verify


def put(runs: Path, text: str | None = None, **changes: Any) -> Path:
    document = new_document(**deployed("split")) | {"directory": "runs/x"} | changes
    path = runs / "canary" / deployed("split")["id"]
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps(document) if text is None else text)
    return path


def test_a_whole_run_is_read_as_it_is(tmp_path: Path) -> None:
    put(tmp_path)
    document = load_run(tmp_path).document
    assert document["verdict"] == "passed" and document["error"] is None and document["probes"]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"probes": [{"name": "x"}]}, "probes[0].verdict"),
        ({"probes": {"x": 1}}, "probes is no array"),
        ({"stages": [{"name": 1}]}, "stages[0].name is no string"),
        ({"seconds": "long"}, "seconds is no number or null"),
        ({"seconds": 10**400}, "seconds"),
        ({"verdict": "fine"}, "verdict is none of"),
        ({"release": []}, "release is no object"),
        ({"simulated": 1}, "simulated is no boolean"),
    ],
)
def test_a_key_of_another_form_is_left_out_and_named(tmp_path: Path, changes: dict[str, Any], place: str) -> None:
    put(tmp_path, **changes)
    document = load_run(tmp_path).document
    assert document["verdict"] == "interrupted" and place in document["error"]["what"]
    assert document["stack"] == "ktrdr"  # the rest is there
    assert list_runs(tmp_path)[0]["verdict"] == "interrupted"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "null",
        '{"seconds": NaN}',
        "[" * 100_000,
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_what_is_no_document_is_said(tmp_path: Path, text: str) -> None:
    put(tmp_path, text)
    document = load_run(tmp_path).document
    assert document["verdict"] == "interrupted" and "run.json cannot be read" in document["error"]["what"]


def test_what_an_older_canaryctl_did_not_write_is_added(tmp_path: Path) -> None:
    found, fault = readable({"containers": [{"host": "h", "service": "web"}], "gaps": []})
    assert not fault and found["containers"][0]["oom_killed"] is False and found["containers"][0]["health"] is None


def test_whatever_cannot_be_shown_names_the_file() -> None:
    with pytest.raises(ConfigError, match="damaged: KeyError") as caught, damage_told(Path("runs/canary/x")):
        raise KeyError("name")
    assert caught.value.where == "runs/canary/x/run.json" and caught.value.exit_code == 2


@pytest.mark.parametrize(
    "command", [["show"], ["export"], ["export", "--format", "html"], ["export", "--format", "junit"]]
)
def test_commands_leave_no_traceback(tmp_path: Path, command: list[str]) -> None:
    put(tmp_path, comparison={"a": 5}, promotion={"from": "x", "contracts": {"passed": "many"}})
    done = CliRunner().invoke(app, ["runs", *command, "--runs", str(tmp_path)])
    assert done.exception is None or isinstance(done.exception, (SystemExit, ConfigError))


def test_only_what_we_name_so_is_a_run(tmp_path: Path) -> None:
    put(tmp_path)
    for name in ("20261124T081530Z-x\x1b[2J-5c1f", "20261124T081530Z-a b-5c1f"):
        (tmp_path / "canary" / name).mkdir()
    (tmp_path / "\x1b[2J" / "20261124T081530Z-deploy-5c1f").mkdir(parents=True)
    assert len(list_runs(tmp_path)) == 1


def test_a_page_that_is_made_to_be_opened_stays_where_it_is_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = put(tmp_path / "runs", id="../../../forged")
    done = CliRunner().invoke(app, ["runs", "open", "--print", "--runs", str(tmp_path / "runs")])
    made = Path(done.output.strip())
    assert made.name == f"{path.name}.html" and tmp_path in made.parents
    assert stat.S_IMODE(made.stat().st_mode) == 0o600 and not list(tmp_path.rglob("forged*"))


def test_a_manifest_of_others_leads_nowhere(tmp_path: Path) -> None:
    path = put(tmp_path)
    (path / "MANIFEST.sha256").write_text("0" * 64 + "  ../../../../etc/passwd\n")
    assert "../../../../etc/passwd: missing" in verify(path)
    (path / "MANIFEST.sha256").write_bytes(b"\xff\xfe")
    assert "cannot be read" in verify(path)[0]

"""The command `contract`: what it prints and its exit codes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from projects import ctl, make_project

from canaryctl.cli.contract import _document, _print
from canaryctl.cli.output import Printer
from canaryctl.commands import contract
from canaryctl.commands.contract import CheckedImage, Row
from canaryctl.plan.release import ImageFact

WEB = ImageFact("web", f"sha256:{'a' * 64}", "shop-web:test", 700_000_000, (), "linux/amd64")
LAYERS = [{"size": 600_000_000, "created_by": "RUN pip install"}, {"size": 100_000_000, "created_by": "COPY"}]


def checked(*verdicts: str) -> CheckedImage:
    rows = [Row("web", f"check {n}", verdict, found="seen", reason="") for n, verdict in enumerate(verdicts)]
    return CheckedImage(WEB, rows, LAYERS)


def test_an_image_is_told_with_its_rows_and_biggest_layers() -> None:
    out = io.StringIO()
    long = Row("web", "module torch", "failed", reason="it is there", cached=True)
    _print([CheckedImage(WEB, [Row("web", "size", "passed", found="700 MB"), long], LAYERS)], Printer(out))
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert lines[0] == ["web", "shop-web:test", "700", "MB", f"sha256:{'a' * 12}"]
    assert lines[1][1:] == ["size", "700", "MB"]
    assert lines[2][1:] == ["module", "torch", "failed", "(checked", "before)"] and lines[3] == ["it", "is", "there"]
    assert lines[5] == ["600", "MB", "RUN", "pip", "install"]
    assert lines[-1] == ["2", "checks", "of", "1", "images:", "1", "passed,", "1", "failed"]


def test_the_document_has_rows_and_images() -> None:
    document = _document([checked("passed")])
    assert [row["verdict"] for row in document["contracts"]] == ["passed"]
    assert document["images"]["web"] == {"id": WEB.id, "tag": WEB.reference, "size": WEB.size, "layers": LAYERS}


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["passed", "skipped"], 0),
        (["passed", "inconclusive"], 4),
        (["inconclusive", "failed"], 1),
        ([], 0),
    ],
)
def test_the_worst_row_decides(monkeypatch: pytest.MonkeyPatch, verdicts: list[str], code: int) -> None:
    monkeypatch.setattr(contract, "check_images", lambda *_, **__: [checked(*verdicts)])
    assert ctl("contract").code == code


def test_a_malformed_image_option_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path))
    assert ctl("contract", "--image", "web").code == 2

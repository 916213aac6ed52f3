"""The command `doctor` on this machine, whatever it has."""

from __future__ import annotations

from projects import ctl


def test_each_thing_is_a_row_and_what_is_missing_decides() -> None:
    done = ctl("doctor", "--output", "json")
    checks = done.document["checks"]
    assert done.document["ready"] is (done.code == 0) is not any(check["status"] == "missing" for check in checks)
    assert done.code in (0, 2) and checks[0] == {**checks[0], "name": "python", "status": "ok"}
    told = ctl("doctor")
    ending = "ready" if done.document["ready"] else "something needed is missing"
    assert told.code == done.code and told.out.splitlines()[-1] == ending
    assert all(check["name"] in told.out for check in checks)


def test_another_form_is_refused() -> None:
    assert ctl("doctor", "--output", "yaml").code == 2

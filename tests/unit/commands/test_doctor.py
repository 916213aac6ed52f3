"""What `doctor` makes of what it finds."""

from __future__ import annotations

import json

import pytest

from canaryctl.commands import doctor


def test_packages_that_are_not_installed_are_named_and_extras_are_not_asked_for() -> None:
    wanted = ["pytest>=8", "surely-not-installed>=1", "neither-this; extra == 'dev'"]
    assert doctor.lacking_packages(wanted) == ["surely-not-installed"]


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"ServerVersion": ""}', '{"ServerErrors": ["no daemon"]}'])
def test_docker_without_a_daemon_is_none(text: str) -> None:
    assert doctor.docker_info(text) is None


def test_a_daemon_is_described_in_one_line() -> None:
    info = {"ServerVersion": "29.0", "Driver": "overlayfs", "CgroupVersion": "2"}
    snapshotter = [["driver-type", "io.containerd.snapshotter.v1"]]
    assert doctor.describe_daemon(info) == "29.0, overlayfs, classic store, cgroup v2"
    assert (
        doctor.describe_daemon({**info, "DriverStatus": snapshotter}) == "29.0, overlayfs, containerd store, cgroup v2"
    )
    assert doctor.docker_info(json.dumps(info)) == info


def test_every_check_that_is_not_ok_says_what_to_do() -> None:
    for check in doctor.check_machine():
        assert check.status == "ok" or check.todo

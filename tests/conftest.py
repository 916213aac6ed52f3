"""For all tests."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import schedule

# Started as a shell's background job, as CI may do, Python would ignore the interrupts that tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-times", action="store_true", help=f"write what files take to {schedule.TIMES.name}")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("record_times") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(schedule.Times())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    return schedule.scheduling(config, log)

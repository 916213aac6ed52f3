"""What a long run calls level, and how long nobody served."""

from __future__ import annotations

import pytest
from faults.levels import SLACK, WIDTH, course, growth, level, plot
from faults.poller import longest_gap, sample_of

MEMORY = "memory of dockerd and containerd, MiB"


def test_filling_up_at_first_is_level() -> None:
    values = [10.0, 40, 80, 100, 100, 101, 99, 100, 100, 101, 100, 102]
    assert level(MEMORY, values) and growth(values) < 5


def test_growing_all_the_time_is_not() -> None:
    values = [100.0 + 10 * number for number in range(100)]
    assert not level(MEMORY, values) and growth(values) == 500


def test_what_has_no_slack_may_not_grow_from_nothing() -> None:
    assert SLACK["processes here"] == 0
    assert not level("processes here", [0.0] * 50 + [1.0] * 50)
    assert level("processes here", [0.0] * 100)


def test_a_run_too_short_to_tell_is_level() -> None:
    assert level("processes here", [0.0, 1, 2])


def test_a_plot_says_which_grow() -> None:
    text = plot({"images": [5.0] * 40, "containers": [float(number) for number in range(40)]})
    images, containers = text.splitlines()[1:]
    assert images.endswith("level") and "GROWS" in containers
    assert "▁" in containers and "█" in containers


def test_a_course_is_as_wide_as_there_is_room() -> None:
    assert len(course([1.0] * 500)) == WIDTH and len(course([1.0] * 3)) == 3
    assert set(course([0.0] * 10)) == {"▁"}


@pytest.mark.parametrize(
    ("samples", "gap"),
    [
        ([(0.2, "a"), (0.4, "a")], 0.6),
        ([(0.2, "a"), (0.4, ""), (0.6, ""), (0.8, "b"), (1.0, "b")], 0.6),
        ([(0.2, "")], 1.0),
        ([], 1.0),
        ([(0.9, "a")], 0.9),
    ],
)
def test_the_longest_time_without_a_page(samples: list[tuple[float, str]], gap: float) -> None:
    assert longest_gap(samples, 0.0, 1.0) == pytest.approx(gap)


def test_what_docker_says_of_a_host_that_goes_down_is_no_page() -> None:
    assert sample_of("12.500 v1\n") == (12.5, "v1") and sample_of("12.500 \n") == (12.5, "")
    assert sample_of("OCI runtime exec failed: exec failed: cannot exec in a stopped container\n") is None

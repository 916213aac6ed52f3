"""Names that only some probes see, and the tag that tells one run's operations from another's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from probed import scope_on

from canaryctl.config.probes.lifecycle import Lifecycle
from canaryctl.config.probes.tcp import Tcp
from canaryctl.probe.names import SECRETS, TAG, own_names, run_mark, tag_prefix

CONTEXT = replace(scope_on(None).context, run="run-1", secrets={"TOKEN": "x"})
LIFECYCLE = Lifecycle.model_validate(
    {
        "kind": "lifecycle",
        "name": "Training",
        "on": "core",
        "start": {"url": "http://x"},
        "status": {"url": "http://x", "until": "done"},
    }
)
PORT = Tcp.model_validate({"kind": "tcp", "name": "Port", "on": "core", "port": 1})


def test_secrets_are_for_all_and_a_tag_for_lifecycles() -> None:
    assert own_names(PORT, CONTEXT, "h1") == {SECRETS: {"TOKEN": "x"}}
    names = own_names(LIFECYCLE, CONTEXT, "h1")
    assert set(names) == {SECRETS, TAG}
    names[SECRETS]["TOKEN"] = "changed"  # of this one alone
    assert CONTEXT.secrets == {"TOKEN": "x"}


def test_a_tag_begins_the_same_in_every_run_names_its_run_and_is_never_the_same_twice() -> None:
    first, second = (own_names(LIFECYCLE, CONTEXT, "h1")[TAG] for _ in range(2))
    prefix = tag_prefix("Training", CONTEXT, "h1")
    assert first != second
    for tag in (first, second):
        assert tag.startswith(prefix) and tag.removeprefix(prefix).split("-")[0] == run_mark("run-1")
    assert own_names(LIFECYCLE, replace(CONTEXT, run="run-2"), "h1")[TAG].startswith(prefix)


@pytest.mark.parametrize(
    ("probe", "environment", "stack", "host"),
    [
        ("Other", "prod", "shop", "h1"),
        ("Training", "staging", "shop", "h1"),
        ("Training", "prod", "blog", "h1"),
        ("Training", "prod", "shop", "h2"),
    ],
)
def test_another_probe_environment_stack_or_host_has_another_prefix(
    probe: str, environment: str, stack: str, host: str
) -> None:
    context = replace(CONTEXT, environment=environment, variables={"stack": stack})
    assert tag_prefix(probe, context, host) != tag_prefix("Training", CONTEXT, "h1")

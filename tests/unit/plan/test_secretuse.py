"""Which services use which secrets, read from the compose file."""

from __future__ import annotations

from typing import Any

import pytest

from canaryctl.plan.secretuse import secret_use

NAMES = ("DB", "DB_URL", "JWT")


@pytest.mark.parametrize(
    ("block", "used"),
    [
        ({"environment": {"PASSWORD": "${DB}"}}, ("DB",)),
        ({"environment": ["PASSWORD=$DB"]}, ("DB",)),
        ({"environment": {"URL": "db://u:${DB:?set it}@h/${JWT:-none}"}}, ("DB", "JWT")),
        ({"environment": ["JWT"]}, ("JWT",)),
        ({"environment": {"JWT": None, "DB": ""}}, ("JWT",)),
        ({"command": ["serve", "--token", "${JWT}"]}, ("JWT",)),
        ({"labels": {"url": "$DB_URL"}}, ("DB_URL",)),
        ({"environment": {"PASSWORD": "$$DB and $${JWT}"}}, ()),
        ({"environment": {"DB": "a value of its own"}}, ()),
        (None, ()),
    ],
)
def test_a_service_uses_what_its_block_refers_to(block: Any, used: tuple[str, ...]) -> None:
    assert secret_use({"services": {"web": block}}, NAMES) == ({"web": used} if used else {})


def test_a_secret_or_config_of_the_document_is_used_by_those_who_get_it() -> None:
    compose = {
        "services": {
            "file": {"secrets": ["db"]},
            "config": {"configs": [{"source": "settings", "target": "/etc/settings"}]},
            "neither": {"image": "web"},
        },
        "secrets": {"db": {"environment": "DB"}},
        "configs": {"settings": {"content": "token: ${JWT}"}},
    }
    assert secret_use(compose, NAMES) == {"file": ("DB",), "config": ("JWT",)}

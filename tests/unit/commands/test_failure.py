"""A command that failed and left no run."""

from __future__ import annotations

from canaryctl.commands.failure import failed_document
from canaryctl.config.scrub import remember_secrets


def test_its_document_is_that_of_a_run_and_has_no_secret() -> None:
    remember_secrets({"DB": "hunter-of-failures"})
    document = failed_document({"what": "no hunter-of-failures", "where": "canary-1", "hint": "look"}, 3)
    assert (document["verdict"], document["exit_code"]) == ("error", 3) and document["schema_version"]
    assert document["error"] == {"what": "no [secret DB]", "where": "canary-1", "hint": "look"}

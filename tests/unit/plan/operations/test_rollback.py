"""What takes a host back."""

from __future__ import annotations

from canaryctl.plan.operations.rollback import BringBack, Created, RemoveCreated


def test_a_release_comes_back_and_others_stop_for_it() -> None:
    back = BringBack("one", "bbbb is current", f"{'a' * 64}-12345678", "shop-prod", ("shop-test",))
    assert (back.stage, back.what) == ("rollback", "make aaaaaaaaaaaa current")
    assert back.data == {
        "release": f"{'a' * 64}-12345678",
        "project": "shop-prod",
        "replaces": ["shop-test"],
    }


def test_what_a_first_run_made_goes() -> None:
    gone = RemoveCreated("one", "this run made them", "shop-prod", Created(("1", "2"), ("data",), ()))
    assert (gone.stage, gone.what) == ("rollback", "remove 2 containers, 1 volumes, 0 files")
    assert gone.data == {
        "project": "shop-prod",
        "created": {"containers": ["1", "2"], "volumes": ["data"], "files": []},
    }

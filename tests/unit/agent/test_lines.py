"""Lines of JSON that survive each other."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from canaryctl.agent.write.lines import append_line


def test_a_line_that_was_cut_off_takes_the_next_one_not_with_it(tmp_path: Path) -> None:
    history = tmp_path / "shop" / "history.jsonl"
    append_line(str(history), {"n": 1})
    with history.open("a") as file:
        file.write('{"n": 2, "who": "me@lap')
    append_line(str(history), {"n": 3})
    append_line(str(history), {"n": 4})
    first, cut, *rest = history.read_text().splitlines()
    assert cut == '{"n": 2, "who": "me@lap' and [json.loads(line)["n"] for line in (first, *rest)] == [1, 3, 4]


def test_lines_of_many_writers_never_mix(tmp_path: Path) -> None:
    history = str(tmp_path / "history.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: append_line(history, {"n": n, "long": "x" * 5000}), range(64)))
    lines = Path(history).read_text().splitlines()
    assert sorted(json.loads(line)["n"] for line in lines) == list(range(64))

"""Probes against real containers: every fault gets its verdict and its reason, in time."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import CTL, Box, Ctl
from faultystack import SECRETS, build, evidence_text, probe, remove, rows, write
from toy import Toy

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    """The faulty stack on canary-1, deployed and healthy."""
    made = Toy(tmp_path_factory.mktemp("faulty"), "toyfaulty", 18181, ctl, box)
    build()
    write(made)
    made.write(
        "probes.yml", f'- {{name: Up, kind: http, on: all, url: "http://{{{{ address }}}}:{made.port}/health"}}\n'
    )
    try:
        done = made.deploy("one")
        assert done.code == 0, done.text[-3000:]
        yield made
    finally:
        made.clean()
        remove()


HTTP = """
- {name: error, kind: http, on: web, url: "URL/error", timeout: 3s}
- {name: html, kind: http, on: web, url: "URL/html", timeout: 3s, expect: {jmespath: "status == 'healthy'"}}
- {name: no json, kind: http, on: web, url: "URL/broken_json", timeout: 3s, expect: {jmespath: status}}
- {name: late, kind: http, on: web, url: "URL/slow", timeout: 1s}
- {name: closed, kind: http, on: web, url: "URL/close", timeout: 3s}
- {name: loop, kind: http, on: web, url: "URL/loop", timeout: 3s, redirects: 5}
- {name: after error, kind: http, on: web, needs: error, url: "URL/health", timeout: 3s}
- {name: token, kind: http, on: web, url: "URL/token", headers: {authorization: "Bearer {{ secrets.API_TOKEN }}"},
   expect: {jmespath: "given == 'x'"}}
- {name: flaky, kind: http, on: web, url: "URL/third", eventually: 10s, every: 50ms, retries: 1}
- {name: dead worker, kind: registered, on: web, url: "URL/workers/dead", kind_field: type, kinds: {training: 1},
   timeout: 3s, reachable: {endpoint_field: endpoint, path: /}}
- {name: twice, kind: registered, on: web, url: "URL/workers/twice", kind_field: type, kinds: {training: 1},
   timeout: 3s, reachable: {endpoint_field: endpoint, path: /}}
"""
HTTP_ROWS = {
    "error": ("failed", 'status 500, expected 2xx: \'{"detail": "no database"}\''),
    "html": ("failed", "answer is not JSON: text/html"),
    "no json": ("failed", "answer is not JSON: application/json"),
    "late": ("failed", "no complete answer"),
    "closed": ("failed", "closed the connection"),
    "loop": ("failed", "status 302, expected 2xx, redirects to /loop"),
    "after error": ("skipped", "needs 'error', which failed"),
    "token": ("failed", "Bearer [secret API_TOKEN]"),
    "flaky": ("passed", ""),
    "dead worker": ("failed", ":18199 is not reachable: connection refused"),
    "twice": ("failed", "is registered twice"),
}


def test_a_faulty_backend_gets_the_right_verdict_and_reason_in_time(faulty: Toy) -> None:
    done = probe(faulty, HTTP)
    found = rows(done)
    assert {name: row["verdict"] for name, row in found.items()} == {n: v for n, (v, _) in HTTP_ROWS.items()}
    missing = {n: found[n]["reason"] for n, (_, said) in HTTP_ROWS.items() if said not in found[n]["reason"]}
    assert not missing
    assert done.code == 1 and max(row["seconds"] for row in found.values()) < 15
    assert (found["flaky"]["flaky"], found["flaky"]["attempts"]) == (True, 3)
    text = evidence_text(faulty, done)
    assert "flaky: passed after 2 failed attempts" in text
    assert not [name for name, value in SECRETS.items() if value in text]


SENT = """
- {name: data, kind: http, on: web, url: "URL/sent/data:,x", redirects: 3, timeout: 3s}
- {name: ftp, kind: http, on: web, url: "URL/sent/ftp:%2F%2Fx%2F", redirects: 3, timeout: 3s}
- {name: long name, kind: http, on: web, url: "URL/sent/https:%2F%2FLONG.x%2F", redirects: 3, timeout: 3s}
- {name: sshd, kind: http, on: web, url: "URL/sent/http:%2F%2Flocalhost:22%2F", redirects: 3, timeout: 3s,
   redirects_to: any}
- {name: own, kind: registered, on: web, url: "URL/workers/own", kind_field: type, kinds: {training: 1}, timeout: 3s,
   reachable: {endpoint_field: endpoint}}
- {name: elsewhere, kind: http, on: web, url: "URL/sent/OTHER%2Fheaders", redirects: 3, timeout: 3s}
- {name: kept, kind: http, on: web, url: "URL/sent/%2Fheaders", redirects: 3, timeout: 3s,
   headers: {x-api-key: "{{ secrets.API_TOKEN }}"}, expect: {jmespath: x_api_key}}
- {name: bare, kind: http, on: web, url: "URL/sent/OTHER%2Fheaders", redirects: 3, redirects_to: ["OTHER"], timeout: 3s,
   headers: {x-api-key: "{{ secrets.API_TOKEN }}", cookie: "a={{ secrets.API_TOKEN }}"},
   expect: {jmespath: ["x_api_key == null", "cookie == null"]}}
"""
SENT_ROWS = {
    "data": ("failed", "redirects to nowhere usable: 'data:,x' is no http or https URL"),
    "ftp": ("failed", "redirects to nowhere usable: 'ftp://x/'"),
    "long name": ("failed", "names no host and port there can be"),
    "sshd": ("failed", "is an address of the host's own, where the application may not send a probe"),
    "own": ("failed", "169.254.169.254:80 is an address of the host's own"),
    "elsewhere": ("failed", "is of another origin, where the probe does not go without redirects_to"),
    "kept": ("passed", ""),
    "bare": ("passed", ""),
}


def test_an_application_sends_no_probe_where_it_likes(faulty: Toy) -> None:
    other = f"http://{{{{ address }}}}:{faulty.port + 1}"
    done = probe(faulty, SENT.replace("OTHER", other).replace("LONG", "a" * 64))
    found = rows(done)
    assert {name: row["verdict"] for name, row in found.items()} == {n: v for n, (v, _) in SENT_ROWS.items()}
    assert not {n: found[n]["reason"] for n, (_, said) in SENT_ROWS.items() if said not in found[n]["reason"]}
    assert done.code == 1 and "fault in canaryctl" not in done.err
    assert "SSH-2.0" not in evidence_text(faulty, done)


FRONT = """
- {name: data, kind: http, on: web, url: "URL/front/data:,x", redirects: 3, timeout: 3s}
- {name: ftp, kind: http, on: web, url: "URL/front/ftp:%2F%2Fx%2F", redirects: 3, timeout: 3s}
- {name: name, kind: http, on: web, url: "URL/front/https:%2F%2FLONG.x%2F", redirects: 3, timeout: 3s}
"""


def test_a_release_that_answers_oddly_makes_way_for_the_one_before(faulty: Toy) -> None:
    good = faulty.run("status", "one", "--output", "json").document["release"]["id"]
    url = f"http://{{{{ address }}}}:{faulty.port}"
    probes = faulty.edit(
        "probes.yml", "- {name: Up", FRONT.replace("URL", url).replace("LONG", "a" * 64) + "- {name: Up"
    )
    compose = faulty.edit("compose.yml.j2", "RELEASE: good", "RELEASE: bad")
    try:
        done = faulty.deploy("one")
    finally:
        probes()
        compose()
    found = {name: row["verdict"] for name, row in rows(done).items()}
    assert done.code == 1 and "fault in canaryctl" not in done.text, done.text[-3000:]
    assert found == {"data": "failed", "ftp": "failed", "name": "failed", "Up": "passed"}
    assert done.document["rollback"]["verdict"] == "passed" and done.document["rollback"]["to"] == good
    assert faulty.run("status", "one", "--output", "json").document["release"]["id"] == good
    assert faulty.run("runs", "verify", done.document["id"]).code == 0


LIFECYCLE = """
- name: {name}
  kind: lifecycle
  on: web
  mode: {mode}
  timeout: 2s
  start: {{url: "URL/start/{kind}", json: {{tag: "{{{{ tag }}}}"}}, save: {{op: id}}}}
  status: {{url: "URL/operations/{{{{ op }}}}", until: "{until}", every: 100ms, timeout: 2s}}
  cancel: {{url: "URL/operations/{{{{ op }}}}"}}
  reap: {{url: "URL/operations", save: {{op: id}}}}
"""


def lifecycle(name: str, kind: str, mode: str = "complete", until: str = "status == 'completed'") -> str:
    return LIFECYCLE.format(name=name, kind=kind, mode=mode, until=until)


def test_lifecycles_that_do_not_go_as_they_should(faulty: Toy) -> None:
    done = probe(
        faulty,
        lifecycle("good", "good")
        + lifecycle("pending", "pending")
        + lifecycle("refused", "stubborn", "cancel", "status == 'pending'")
        + lifecycle("silent", "silent"),
    )
    found = rows(done)
    assert done.code == 1
    assert found["good"]["verdict"] == "passed"
    assert "did not end within" in found["pending"]["reason"] and "'pending'" not in found["pending"]["verdict"]
    assert found["pending"]["reason"].endswith("what it started was cancelled")
    assert 'cancel was refused: status 409, expected 2xx: \'{"detail": "it is busy"}\'' in found["refused"]["reason"]
    assert "it was not repeated; the next run cancels what it may have begun" in found["silent"]["reason"]
    assert max(row["seconds"] for row in found.values()) < 15

    again = rows(probe(faulty, lifecycle("silent", "good")))["silent"]
    assert again["verdict"] == "passed" and "left over from an earlier run: silent-1 was cancelled" in again["reason"]


def test_concurrent_lifecycles_keep_their_operations_apart(faulty: Toy) -> None:
    found = rows(probe(faulty, "".join(lifecycle(f"good {number}", "good") for number in range(6))))
    assert {row["verdict"] for row in found.values()} == {"passed"}
    assert len({row["saved"]["op"] for row in found.values()}) == 6
    assert not [row["reason"] for row in found.values() if "left over" in row["reason"]]


SQL = """
- {name: version, kind: sql, on: db, query: "select 1 as one, null as nothing", env: {PGDATABASE: ktrdr},
   expect: {rows: 1, jmespath: ["[0].one == '1'", "[0].nothing == null"]}}
- {name: password, kind: sql, on: db, query: "select current_user as me",
   env: {PGUSER: ktrdr, PGDATABASE: ktrdr, PGHOST: 127.0.0.1, PGPASSWORD: "{{ secrets.DB_PASSWORD }}"},
   expect: {jmespath: "[0].me == 'ktrdr'"}}
- {name: rows, kind: sql, on: db, query: "select * from generate_series(1, 3)", expect: {rows: 2}}
- {name: writes, kind: sql, on: db, query: "create table x (y int)"}
- {name: typo, kind: sql, on: db, query: "selct 1"}
- {name: no table, kind: sql, on: db, query: "select * from operations"}
- {name: endless, kind: sql, on: db, query: "select pg_sleep(60)", timeout: 1s}
- {name: huge, kind: sql, on: db, query: "select repeat('x', 1000) from generate_series(1, 100000)", timeout: 20s,
   expect: {jmespath: "length(@) > `1`"}}
- {name: no psql, kind: sql, on: web, query: "select 1"}
"""
SQL_ROWS = {
    "version": ("passed", "1 rows"),
    "password": ("passed", "1 rows"),
    "rows": ("failed", "3 rows, expected 2"),
    "writes": ("inconclusive", "cannot execute CREATE TABLE in a read-only transaction"),
    "typo": ("inconclusive", "syntax error"),
    "no table": ("failed", 'relation "operations" does not exist'),
    "endless": ("failed", "did not end within"),
    "huge": ("failed", "larger than 1024 KiB"),
    "no psql": ("inconclusive", "the container of web has no psql"),
}


def test_sql_reads_and_nothing_else(faulty: Toy, box: Callable[[str], Box]) -> None:
    host, over = box("canary-1"), f"{faulty.root}/over"
    look = f"until [ -e {over} ]; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; sleep 0.1; done; rm {over}"
    with ThreadPoolExecutor(1) as beside:
        watched = beside.submit(host.run, look)
        try:
            done = probe(faulty, SQL)
        finally:
            host.run(f"touch {over}")
        seen = watched.result()
    found = rows(done)
    assert {name: row["verdict"] for name, row in found.items()} == {n: v for n, (v, _) in SQL_ROWS.items()}
    missing = {n: found[n]["reason"] for n, (_, said) in SQL_ROWS.items() if said not in found[n]["reason"]}
    assert not missing
    assert "psql -X" in seen and SECRETS["DB_PASSWORD"] not in seen
    assert SECRETS["DB_PASSWORD"] not in evidence_text(faulty, done)


CONTAINERS = """
- {name: web, kind: container, on: web}
- {name: frail, kind: container, on: frail}
- {name: web log, kind: logs, on: web}
- {name: frail log, kind: logs, on: frail, since: start, expect: {present: chapter-one}}
"""


def test_containers_and_logs_as_they_should_be(faulty: Toy) -> None:
    ask = '- {name: say, kind: http, on: web, url: "http://{{ address }}:18182/log/chapter-one"}'
    assert probe(faulty, ask).code == 0
    done = probe(faulty, CONTAINERS)
    assert done.code == 0, done.text
    assert rows(done)["web"]["reason"] == "running, healthy, 0 restarts, the release's image"


def test_what_is_wrong_with_a_container_is_said(faulty: Toy, box: Callable[[str], Box]) -> None:
    """A traceback, a crash that Docker fixed, a failing health check, a foreign image, and no memory."""
    host = box("canary-1")
    label = "--label com.docker.compose.project=toyfaulty-one --label com.docker.compose.service=web"
    database = host.run("docker images canaryctl/toyfaulty/db --format '{{.Repository}}:{{.Tag}}'").split()[0]
    host.run(
        f"docker run -d --name toyfaulty-odd {label} --label com.docker.compose.oneoff=False {database} sleep 600; "
        "docker exec toyfaulty-one-web-1 python3 -m ktrdr.healthcheck 8000 /log/traceback; "
        "docker exec toyfaulty-one-web-1 python3 -m ktrdr.healthcheck 8000 /crash; true"
    )
    try:
        found = rows(probe(faulty, CONTAINERS + "- {name: since, kind: logs, on: web, since: start}\n"))
    finally:
        host.run("docker rm -f toyfaulty-odd")
    assert "was restarted once since it was made, none allowed" in found["web"]["reason"]
    assert "toyfaulty-odd runs image" in found["web"]["reason"]

    host.run("docker exec toyfaulty-one-frail-1 python3 -m ktrdr.healthcheck 8000 /sick")
    found = rows(probe(faulty, "- {name: frail, kind: container, on: frail}\n- {name: log, kind: logs, on: web}\n"))
    assert "the log holds /^Traceback" in found["log"]["reason"]
    assert "ModuleNotFoundError: No module named 'no_such_module'" in found["log"]["reason"]
    slow = "- {name: frail, kind: container, on: frail}\n"
    health = "docker inspect -f '{{.State.Health.Status}}' toyfaulty-one-frail-1"
    host.run(f"for i in $(seq 200); do [ $({health}) = unhealthy ] && exit; sleep 0.2; done; exit 1")
    reason = rows(probe(faulty, slow))["frail"]["reason"]
    assert "is unhealthy: its health check says" in reason and "no database" in reason

    host.run("docker exec toyfaulty-one-frail-1 python3 -m ktrdr.healthcheck 8000 /memory; true", check=False)
    reason = rows(probe(faulty, slow))["frail"]["reason"]
    assert "is exited, exit code 137, killed for lack of memory (OOM)" in reason


def test_a_part_of_the_probes_says_so_and_a_wrong_word_is_refused(faulty: Toy) -> None:
    text = (
        '- {name: One, kind: http, on: web, url: "URL/health", tags: [quick]}\n'
        '- {name: Two, kind: http, on: web, url: "URL/error"}\n'
    )
    done = probe(faulty, text, "--only", "quick")
    assert done.code == 0 and list(rows(done)) == ["One"] and done.document["partial"] is True
    assert any("only 1 of 2 probes ran" in note for note in done.document["notes"])
    refused = probe(faulty, text, "--skip", "Tow")
    assert refused.code == 2 and "did you mean 'Two'?" in refused.err

    deployed = faulty.deploy("one", "--probes", "asked.yml", "--skip", "Two")
    assert deployed.code == 0 and deployed.document["partial"] is True
    assert faulty.history("canary-1")[-1]["verdict"] == "partial"


@pytest.mark.parametrize(
    "text, said, hint",
    [
        ("- {name: a, kind: htp, on: web}", "unknown kind 'htp'", "did you mean 'http'?"),
        ('- {name: a, kind: sql, on: db, query: "select 1", expect: {jmespath: "a =="}}', "bad JMESPath", ""),
        ("- {name: a, kind: tcp, on: web, port: 1, needs: b}\n- {name: b, kind: tcp, on: web, port: 1, needs: a}",
         "'needs' goes in a circle", "break the circle"),
        ('- {name: a, kind: http, on: web, url: "http://x/{{ secrets.NOPE }}"}', "secret 'NOPE'", "API_TOKEN"),
        (f'- {{name: a, kind: http, on: web, url: "http://x/{SECRETS["API_TOKEN"]}"}}', "value of the secret", "write"),
    ],
)  # fmt: skip
def test_a_probe_file_that_cannot_be_right_is_refused_with_its_line(
    faulty: Toy, text: str, said: str, hint: str
) -> None:
    done = probe(faulty, text)
    error = done.document["error"]
    assert done.code == 2 and said in error["what"] and hint in error["hint"] and "asked.yml:1" in error["where"]
    assert SECRETS["API_TOKEN"] not in done.text


def watched(faulty: Toy, env: dict[str, str], output: str, enough: Callable[[str], bool]) -> tuple[int, str, str]:
    """A watch that is interrupted once its standard output is enough: exit code, output, complaints."""
    probes = '- {name: Toggle, kind: http, on: web, url: "URL/toggle"}\n'
    faulty.write("asked.yml", probes.replace("URL", f"http://{{{{ address }}}}:{faulty.port}"))
    argv = [CTL, "probe", "one", "--probes", "asked.yml", "--watch", "--every", "200ms", "--output", output]
    child = subprocess.Popen(
        argv, cwd=faulty.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    text, ends = "", time.monotonic() + 60
    assert child.stdout is not None
    while not enough(text) and time.monotonic() < ends and (line := child.stdout.readline()):
        text += line
    child.send_signal(signal.SIGINT)
    rest, complaints = child.communicate(timeout=60)
    return child.returncode, text + rest, complaints


def test_a_watch_prints_changes_and_leaves_one_run(faulty: Toy, lab_env: dict[str, str]) -> None:
    runs: set[Any] = set((faulty.folder / "runs").glob("one/*"))
    env = {**lab_env, "CANARYCTL_RUNS": "runs"}
    code, out, _ = watched(faulty, env, "text", lambda text: text.count(", now ") >= 3)
    assert code in (0, 1), out
    assert "was passed, now failed (round " in out or "was failed, now passed (round " in out
    assert "the rows are those of the last complete round" in " ".join(out.split())
    (left,) = set((faulty.folder / "runs").glob("one/*")) - runs
    assert (left / "run.json").is_file() and (left / "events.jsonl").stat().st_size < 100_000


def test_a_watch_in_a_pipe_of_events_has_one_for_each_change(faulty: Toy, lab_env: dict[str, str]) -> None:
    code, out, _ = watched(faulty, lab_env, "ndjson", lambda text: text.count('"probe.changed"') >= 2)
    assert code in (0, 1)
    assert out.count('"probe.finished"') == 1 and '"type": "result"' in out.splitlines()[-1]


def measured(toy: Toy, env: dict[str, str], probes: str) -> tuple[int, float]:
    """Exit code of a probe and the most memory it had, in MB."""
    toy.write("asked.yml", probes.replace("URL", f"http://{{{{ address }}}}:{toy.port}"))
    code = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    argv = [sys.executable, "-c", code, CTL, "probe", "one", "--probes", "asked.yml"]
    done = subprocess.run(argv, cwd=toy.folder, env=env, capture_output=True, text=True, timeout=120)
    exit_code, memory = done.stdout.split()
    return int(exit_code), float(memory)


def test_100_mb_of_answer_or_log_is_not_read_into_memory(faulty: Toy, lab_env: dict[str, str]) -> None:
    small = "- {name: small, kind: http, on: web, url: 'URL/health'}\n"
    code, usual = measured(faulty, lab_env, small)
    assert code == 0
    probes = """
- {name: huge, kind: http, on: web, url: "URL/huge", timeout: 20s, expect: {jmespath: a}}
- {name: flood, kind: http, on: web, url: "URL/log/flood", timeout: 20s}
- {name: log, kind: logs, on: web, needs: flood, timeout: 40s, expect: {present: "^INFO x", absent: "panic"}}
"""
    code, most = measured(faulty, lab_env, probes)
    assert code == 1 and most < usual + 50
    newest = faulty.run("runs", "show", "--output", "json", env={"CANARYCTL_RUNS": "runs"}).document
    found = {row["name"]: row for row in newest["probes"]}
    assert "larger than 1024 KiB" in found["huge"]["reason"]
    assert found["log"]["verdict"] == "passed" and int(found["log"]["reason"].split()[0]) >= 100_000

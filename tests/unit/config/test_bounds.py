"""Whatever a stack's files hold, memory and time are bounded, and the fault has a place."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from canaryctl.config.patterns import matches
from canaryctl.config.yamltext import BoundedLoader, ComposeLoader, parse_yaml
from canaryctl.errors import ConfigError
from canaryctl.plan import sandbox
from canaryctl.plan.composefile import compose_document, published_ports
from canaryctl.plan.sandbox import TemplateFault, render_template
from canaryctl.plan.secretuse import secret_use

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} {{<<: [{', '.join([f'*{chr(97 + n)}'] * 9)}]}}\n" for n in range(9)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}]\n" for n in range(3000))


@pytest.mark.parametrize("loader", [BoundedLoader, ComposeLoader])
@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        (BOMB, None, "aliases"),
        (MERGES, None, "aliases"),
        (CHAIN, None, "levels"),
        ("x: 1\na: &a [*a]\n", 2, "stands in"),
        ("x: 1\na: &a {b: *a}\n", 2, "stands in"),
        ("x: 1\ny: " + "[" * 5000, 2, "deep"),
        ("x: 1\ny: a\x07b\n", 2, "character"),
        ("x: 1\ny: !!int seven\n", 2, "no int"),
        ("x: 1\ny: !!timestamp soon\n", 2, "timestamp"),
        ("x: 1\ny: !!bool perhaps\n", 2, "no bool"),
        ("x: 1\ny: " + "9" * 5000, 2, "no int"),
        ('x: 1\ny: "\\0"\n', 2, "NUL"),
        ('x: 1\ny: "\\ud800"\n', 2, "half a character"),
        ("x: 1\nx: 2\n", 2, "twice"),
        ("x: " + "a" * (1 << 20), 1, "MiB"),
        ("x: 1\n{y: 1}: 2\n", 2, ""),
    ],
    ids=lambda value: "" if not isinstance(value, str) or len(value) > 12 else None,
)
def test_a_fault_of_yaml_has_its_line(loader: type[BoundedLoader], text: str, line: int | None, word: str) -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "stack.yml", loader_class=loader)
    assert word in caught.value.what and caught.value.where.startswith("stack.yml:")
    assert line is None or caught.value.where == f"stack.yml:{line}"
    assert time.monotonic() - began < 5


def test_a_few_aliases_and_merges_are_what_they_were() -> None:
    data, _ = parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]\n", "f")
    assert data == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1}, {"x": 1}]}


@pytest.mark.parametrize(
    ("block", "word"),
    [
        ("7", "services.web"),
        ("{ports: 80}", "services.web.ports"),
        ("{ports: [[80]]}", "services.web.ports"),
        ("{ports: [{published: [1]}]}", "services.web.ports"),
        ("{volumes: {a: b}}", "services.web.volumes"),
        ("{volumes: [1]}", "services.web.volumes"),
        ("{volumes: [{source: [a]}]}", "services.web.volumes"),
        ("{secrets: x}", "services.web.secrets"),
        ("{configs: [[x]]}", "services.web.configs"),
        ("{environment: 7}", "services.web.environment"),
        ("{environment: [[x]]}", "services.web.environment"),
        ("{depends_on: x}", "services.web.depends_on"),
        ("{deploy: {resources: {reservations: [x]}}}", "services.web.deploy.resources.reservations"),
        ("{deploy: {resources: {reservations: {devices: x}}}}", "devices"),
        ("{1: x}", "services.web.1"),
    ],
)
def test_a_part_of_another_type_than_compose_takes_is_named(block: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_document(f"services: {{web: {block}}}\n", "compose.yml", "one")
    assert f"'{word}" in caught.value.what or word in caught.value.what
    assert "one" in caught.value.what and caught.value.where == "compose.yml"


@pytest.mark.parametrize("section", ["volumes: [x]", "secrets: {x: 1}", "configs: x", "networks: {1: }"])
def test_a_shared_section_of_another_type_is_named(section: str) -> None:
    with pytest.raises(ConfigError, match=section.partition(":")[0]):
        compose_document(f"services: {{web: {{}}}}\n{section}\n", "compose.yml", "one")


def ports(*given: str) -> tuple[tuple[str, int, str], ...]:
    document = compose_document(f"services: {{web: {{ports: [{', '.join(given)}]}}}}\n", "compose.yml", "one")
    return published_ports(document, "compose.yml")


def test_published_ports_in_every_form() -> None:
    assert ports('"127.0.0.1:80-82:80-82"', "8080", '"53:53/udp"', '"[::1]:90:90/tcp"', '"0:80"') == (
        *[("127.0.0.1", port, "web") for port in (80, 81, 82)],
        ("::1", 90, "web"),
    )
    assert ports('{target: 80, published: "90-91"}', "{target: 80, published: 92, host_ip: 10.0.0.1}") == (
        ("", 90, "web"),
        ("", 91, "web"),
        ("10.0.0.1", 92, "web"),
    )
    assert ports('"${PORT}:80"', '{published: "${PORT}"}') == ()


@pytest.mark.parametrize("given", ['"1-9999999:80"', '"70000:80"', '"9-3:80"', "{published: 65536}", '"0-9:1"'])
def test_a_port_that_there_is_not_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="web"):
        ports(given)


def test_more_ports_than_a_host_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="more than"):
        ports(*['"1-65535:1-65535"'] * 50)


@pytest.mark.parametrize("text", ["08", "-09", "="])
def test_what_compose_takes_is_no_fault(text: str) -> None:
    document = compose_document(f"services: {{web: {{environment: {{X: {text}}}}}}}", "f", "h")
    assert document["services"]["web"]["environment"]["X"] == text


def test_secrets_of_odd_entries() -> None:
    text = "services: {web: {secrets: [s]}}\nsecrets: {s: {environment: [A]}}\n"
    assert secret_use(compose_document(text, "f", "h"), ["A"]) == {"web": ("A",)}


class TestTemplates:
    @pytest.mark.parametrize(
        "text",
        [
            "{{ 'a' * 10**10 }}",
            "{{ 'a' | center(10**10) }}",
            "{{ '%10000000000d' % 1 }}",
            "{{ 'a' * 5000000 }}",
            "{% set n = namespace(a='ab') %}{% for i in range(60) %}{% set n.a = n.a ~ n.a %}{% endfor %}{{ n.a }}",
        ],
    )
    def test_one_that_takes_too_much_memory_is_stopped(self, text: str) -> None:
        with pytest.raises(TemplateFault) as caught:
            render_template(text, {})
        assert caught.value.kind == "bounds"

    def test_one_that_does_not_end_is_stopped_and_the_next_is_rendered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sandbox, "SECONDS", 0.3)
        loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
        began = time.monotonic()
        with pytest.raises(TemplateFault, match="more than"):
            render_template(loop, {})
        assert time.monotonic() - began < 3
        monkeypatch.undo()
        assert render_template("a {{ x }}\n", {"x": 1}) == "a 1\n"

    def test_the_child_has_nothing_of_its_parent_open(self, tmp_path: Path) -> None:
        with (tmp_path / "lock").open("w"):
            sandbox._CHILD.end()
            render_template("x", {})
            held = [entry.readlink().name for entry in Path(f"/proc/{sandbox._CHILD._process}/fd").iterdir()]
        assert "lock" not in held and len(held) <= 5

    def test_nothing_is_left_open_either_where_the_limit_is_lower_than_what_is_open(self, tmp_path: Path) -> None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        with (tmp_path / "lock").open("w") as file:
            high = fcntl.fcntl(file, fcntl.F_DUPFD, 200)
            sandbox._CHILD.end()
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (150, limit[1]))
                render_template("x", {})
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
                os.close(high)
            held = [entry.readlink().name for entry in Path(f"/proc/{sandbox._CHILD._process}/fd").iterdir()]
        assert "lock" not in held

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    def test_a_signal_that_all_processes_get_leaves_one_to_render(self, number: int) -> None:
        render_template("x", {})
        os.kill(sandbox._CHILD._process, number)
        time.sleep(0.1)
        assert render_template("y", {}) == "y"

    def test_one_that_was_ended_from_outside_is_replaced(self) -> None:
        render_template("x", {})
        os.kill(sandbox._CHILD._process, signal.SIGKILL)
        time.sleep(0.1)
        assert render_template("y", {}) == "y"

    def test_what_values_hold_is_no_template(self) -> None:
        assert render_template("{{ x }}", {"x": "{{ 7 * 7 }}"}) == "{{ 7 * 7 }}"


@pytest.mark.parametrize("pattern", ["(?:aa|a)" * 40 + "b", "(?x)" + "a?\n" * 40 + "b", "(?:aa|a.)" * 40 + "b"])
def test_choices_alone_make_a_pattern_slow(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("canaryctl.config.patterns.LONGEST", 0.3)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        matches(pattern, "a" * 200)
    assert time.monotonic() - began < 3

"""What users write: stack, probes, project, compose file and templates, inventories' policy, secrets."""

from __future__ import annotations

import atexit
import json
import tempfile
from pathlib import Path
from typing import Any

from fuzzing import LOOKUP, fuzzed, mutations, texts
from hypothesis import strategies as st

from canaryctl.agent.read.secrets import plain_value
from canaryctl.config.durations import parse_duration, show_duration
from canaryctl.config.environment import Environment, Host
from canaryctl.config.metrics import load_metrics
from canaryctl.config.policy import load_policies
from canaryctl.config.probes import load_probes
from canaryctl.config.project import load_project
from canaryctl.config.reference import parse_reference
from canaryctl.config.secrets import env_file, env_lines, find_secrets
from canaryctl.config.sizes import parse_size, show_size
from canaryctl.config.stack import Stack, load_stack
from canaryctl.config.stackfiles import read_stack_files
from canaryctl.config.vault import vaulted_parts
from canaryctl.config.webhook import load_webhook
from canaryctl.config.yamltext import InventoryLoader, parse_yaml
from canaryctl.errors import ConfigError
from canaryctl.plan.composefile import compose_document, named_volumes, published_ports
from canaryctl.plan.release import ImageFact, make_release
from canaryctl.plan.rendering import place_services, render_host, template_names
from canaryctl.plan.sandbox import TemplateFault, render_template
from canaryctl.plan.secretuse import secret_use

ROOT = Path(__file__).parents[2]
_KEPT = tempfile.TemporaryDirectory(prefix="canaryctl-fuzz-")
atexit.register(_KEPT.cleanup)
FOLDER = Path(_KEPT.name).resolve()
(FOLDER / "rules").mkdir()
(FOLDER / "rules/one").write_text("one\n")
(FOLDER / "inventories/prod").mkdir(parents=True)

STACK_TEXT = (ROOT / "examples/ktrdr/stack.yml").read_text()
PROBES_TEXT = (ROOT / "examples/ktrdr/probes.yml").read_text()
TEMPLATE = (ROOT / "examples/ktrdr/templates/compose.yml.j2").read_text()
STACK: dict[str, Any] = {
    "stack": "shop",
    "images": {
        "web": {"tag": "w:1", "build": {"context": ".", "args": {"A": None}}, "contract": {"commands": ["true"]}},
        "db": {"ref": "example.com/db:1", "gpu": "optional", "cuda": "12.4", "gpu_memory": "8GB"},
    },
    "variants": {"plain": {"web": "web", "db": "db"}},
    "default_variant": "plain",
    "placement": {"core": ["web", "db"]},
    "optional": ["db"],
    "compose": "compose.yml",
    "assets": ["rules/"],
    "mounts": [{"path": "/data", "fstype": "nfs", "sentinel": ".here", "min_free": "1GB", "groups": ["core"]}],
    "secrets": ["DB_PASSWORD"],
    "migrations": {"service": "web", "upgrade": "up", "current": "cur", "backup": "db", "timeout": 3},
    "probes": "probes.yml",
    "start_timeout": 30,
}
COMPOSE: dict[str, Any] = {
    "services": {
        "web": {
            "image": "w",
            "build": ".",
            "ports": ["127.0.0.1:80-82:80", 8080, {"target": 80, "published": "90-91", "protocol": "tcp"}],
            "volumes": ["data:/data", "./x:/x:ro", {"type": "volume", "source": "data", "target": "/d"}],
            "environment": {"A": "${DB_PASSWORD:?}", "DB_PASSWORD": None},
            "secrets": ["s", {"source": "s"}],
            "depends_on": {"db": {"condition": "service_healthy"}},
            "deploy": {"resources": {"reservations": {"devices": [{"driver": "nvidia"}]}}},
        },
        "db": {"image": "d", "environment": ["DB_PASSWORD", "B=1"], "depends_on": ["web"], "configs": ["c"]},
    },
    "volumes": {"data": {"name": "kept"}, "other": None},
    "secrets": {"s": {"environment": "DB_PASSWORD"}},
    "configs": {"c": {"content": "$DB_PASSWORD"}},
}
COMPOSE_TEXT = """\
x-common: &common {restart: always, ports: ["8000:8000"]}
services:
  web: &web
    <<: *common
    image: w
    volumes: [data:/data]
  db: {<<: *web, image: d}
volumes: {data: }
"""
POLICY: dict[str, Any] = {
    **{"canary_provision": "auto", "canary_on_failure": "keep", "canary_soak": "10m", "canary_gates": ["a"]},
    **{"canary_serial": [1, "25%"], "canary_max_fail_percentage": 10, "canary_gpu_devices": [0, "GPU-1"]},
    **{"canary_audit_ignore": [{"id": "a", "reason": "b"}], "canary_gpu_driver": True, "canary_inconclusive": "pass"},
    "canary_registries": ["example.com/shop"],
    "canary_metrics": [{"name": "m", "url": "http://x/", "on": "core", "prometheus": "up", "max": 1}],
    "canary_require_promotion": True,
}
METRICS: list[Any] = [
    {"name": "m", "url": "http://x/", "on": "core", "prometheus": 'up{a="b"}', "max": 1, "statistic": "rate"},
    {"name": "p", "probe": "Front", "statistic": "p95", "max": 0.5},
]


def written(name: str, text: str) -> Path:
    path = FOLDER / name
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def as_text(document: Any) -> str:
    """YAML of a document: JSON is."""
    return json.dumps(document)


@fuzzed(st.one_of(st.text(), st.floats(), st.integers(), st.none(), st.booleans()), allowed=(ValueError,))
def test_duration(value: object) -> None:
    show_duration(parse_duration(value))


@fuzzed(st.one_of(texts("700MB", "2GiB", "1.5 GB"), st.floats(), st.integers(), st.none()), allowed=(ValueError,))
def test_size(value: Any) -> None:
    show_size(parse_size(value))


@fuzzed(texts("ghcr.io/a/b:1@sha256:" + "0" * 64, "localhost:5000/x", "[::1]:5000/x/y:tag"), allowed=(ValueError,))
def test_reference(value: str) -> None:
    found = parse_reference(value)
    assert parse_reference(str(found)) == parse_reference(str(parse_reference(str(found))))


def use_stack(text: str) -> None:
    written("compose.yml", "services: {web: {image: a}, db: {image: b}}\n")
    stack = load_stack(written("stack.yml", text))
    read_stack_files(stack)
    _ = stack.choose_variant(None), stack.probes_file
    render(stack)


def render(stack: Stack) -> None:
    files = read_stack_files(stack)
    hosts = {"one": Host("one", ("core",))}
    environment = Environment("prod", FOLDER, hosts, {"all": ("one",), "core": ("one",)})
    images = {name: ImageFact(name, "sha256:" + "0" * 64, "", 0, (), "") for name in stack.images}
    release = make_release(stack, stack.choose_variant(None), images, files.all)
    placed = place_services(stack, environment, "stack.yml")
    names = template_names(stack, environment, placed, release=release.id, variant=release.variant, images=release.tags)
    devices = {service: {"driver": "nvidia"} for service in release.services}
    render_host(stack, files, release, names, "one", (), devices)


@fuzzed(texts(STACK_TEXT, as_text(STACK)))
def test_stack_text(value: str) -> None:
    use_stack(value)


@fuzzed(mutations(STACK))
def test_stack_document(value: Any) -> None:
    use_stack(as_text(value))


@fuzzed(texts(PROBES_TEXT))
def test_probes_text(value: str) -> None:
    load_probes(written("probes.yml", value))


@fuzzed(mutations(parse_yaml(PROBES_TEXT, "probes.yml")[0][:6]))
def test_probes_document(value: Any) -> None:
    load_probes(written("probes.yml", as_text(value)))


@fuzzed(texts("stack: stack.yml\ninventories: inventories\nruns: runs\nhooks: rules\n"))
def test_project_file(value: str) -> None:
    written("canaryctl.yml", value)
    load_project(start=FOLDER).environments()


def use_compose(text: str) -> None:
    document = compose_document(text, "compose.yml", "one")
    published_ports(document, "compose.yml")
    named_volumes(document)
    secret_use(document, ["DB_PASSWORD"])
    written("compose.yml", text)
    render(load_stack(written("stack.yml", as_text({**STACK, "compose": "compose.yml"}))))


@fuzzed(texts(COMPOSE_TEXT, as_text(COMPOSE)))
def test_compose_text(value: str) -> None:
    use_compose(value)


@fuzzed(mutations(COMPOSE))
def test_compose_document(value: Any) -> None:
    use_compose(as_text(value))


@fuzzed(texts(TEMPLATE, "{{ a ~ b['c'] }}{% for x in b %}{{ loop.index }}{% endfor %}"), allowed=(TemplateFault,))
def test_template(value: str) -> None:
    render_template(value, {"a": LOOKUP, "b": {"c": "{{ a }}"}}, blocks=True)


@fuzzed(mutations({"a": LOOKUP, "b": {"c": "{{ a }}", "d": [1]}}), allowed=(TemplateFault,))
def test_template_values(value: Any) -> None:
    text = "{{ a }}{{ b.c }}{% for x in b.d %}{{ x }}{% endfor %}{{ b | tojson }}"
    said = render_template(text, value if isinstance(value, dict) else {"a": value})
    assert "49" not in said or "49" in repr(value)


@fuzzed(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]*", fullmatch=True), texts("a'b\"c$d\\e\nf\rg"), max_size=4))
def test_env_file_round_trip(value: dict[str, str]) -> None:
    kept = {name: text.encode("utf-8", "replace").decode() for name, text in value.items()}
    lines = env_lines(kept)
    assert env_file(kept).splitlines(keepends=False) or not kept
    assert {name: plain_value(line.encode()) for name, line in lines.items()} == kept
    assert all("\n" not in line and "\r" not in line for line in lines.values())


@fuzzed(mutations({"A": "plain", "B": {"env": "CANARYCTL_NOT_SET"}, "C": {"file": "/nonexistent/x"}, "D": ""}))
def test_secret_sources(value: Any) -> None:
    if isinstance(value, dict):
        for secret in find_secrets(["A", "B", "C", "D"], value, "prod"):
            assert secret.problem or secret.value


@fuzzed(mutations(POLICY))
def test_policy(value: Any) -> None:
    if isinstance(value, dict):
        host = Host("one", ("core",), value)
        load_policies(Environment("prod", FOLDER, {"one": host}, {"all": ("one",)}, value))


@fuzzed(mutations(METRICS))
def test_metrics(value: Any) -> None:
    load_metrics(value, "inventories/prod")


@fuzzed(mutations({"url": "https://example.com/hook", "format": "slack", "on": ["failed"]}))
def test_webhook(value: Any) -> None:
    load_webhook(value, "inventories/prod")


@fuzzed(texts("all: {hosts: {one: {a: !vault |\n  $ANSIBLE_VAULT;1.1\n  61\n}}}\n", "a: !unsafe x\nb: &b [1, *b]\n"))
def test_inventory_syntax(value: str) -> None:
    vaulted_parts(value)
    try:
        parse_yaml(value, "hosts.yml", loader_class=InventoryLoader)
    except ConfigError as error:
        assert error.where.startswith("hosts.yml:")
        raise

"""What a look at an image tells, and which variables count as credentials."""

from __future__ import annotations

import time
from typing import Any

import pytest

from canaryctl.config.contract import Contract
from canaryctl.contract.credentials import credential, redacted
from canaryctl.contract.layers import Step, parse_history, picture
from canaryctl.contract.results import Row
from canaryctl.contract.rules import check_inspection, read_inspection
from canaryctl.errors import HostError

# As Docker 20.10 reports it, shortened to what is looked at.
INSPECTED: dict[str, Any] = {
    "Id": "sha256:9de3",
    "Config": {
        "User": "shop",
        "ExposedPorts": {"8000/tcp": {}, "9000/tcp": {}},
        "Env": ["PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"],
        "Labels": {"org.opencontainers.image.revision": "0123abcd"},
    },
    "Architecture": "arm64",
    "Variant": "v8",
    "Os": "linux",
    "Size": 197_000_000,
}
HISTORY = [Step(120_000_000, ""), Step(76_000_000, "/bin/sh -c apt-get install -y things"), Step(0, "CMD")]


def judge(
    contract: dict[str, Any], *, uid: int | None = None, history: list[Step] = HISTORY, **config: Any
) -> dict[str, Row]:
    document = {**INSPECTED, "Config": {**INSPECTED["Config"], **config}}
    rows, _ = check_inspection("web", Contract.model_validate(contract), document, history, ["DB_PASSWORD"], uid)
    return {row.check: row for row in rows}


@pytest.mark.parametrize(
    ("platform", "verdict"), [("linux/arm64", "passed"), ("linux/arm64/v8", "passed"), ("linux/amd64", "failed")]
)
def test_the_platform(platform: str, verdict: str) -> None:
    assert judge({"platform": platform})[f"platform {platform}"].verdict == verdict


@pytest.mark.parametrize(
    ("wanted", "user", "uid", "verdict"),
    [
        ("nonroot", "shop", 10001, "passed"),
        ("nonroot", "shop", None, "passed"),
        ("nonroot", "shop", 0, "failed"),  # a name for root
        ("nonroot", "", None, "failed"),
        ("nonroot", "", 0, "failed"),
        ("nonroot", "", 10001, "passed"),  # its entry point lets root go
        ("10001", "root", 10001, "passed"),
        ("nonroot", "0:0", None, "failed"),
        ("nonroot", "root", None, "failed"),
        ("nonroot", "1000:1000", None, "passed"),
        ("shop", "shop:shop", None, "passed"),
        ("shop", "other", None, "failed"),
        ("root", "", None, "passed"),
        (10001, "shop", 10001, "passed"),
        (10001, "10001", None, "passed"),
        (10001, "shop", 5, "failed"),
    ],
)
def test_the_user(wanted: str | int, user: str, uid: int | None, verdict: str) -> None:
    assert judge({"user": wanted}, uid=uid, User=user)[f"user {wanted}"].verdict == verdict


def test_an_image_that_is_too_big_names_its_biggest_layers() -> None:
    row = judge({"max_size": "150MB"})["size at most 150 MB"]
    assert row.verdict == "failed" and "197 MB, 47 MB more" in row.reason
    assert "120 MB base image; 76 MB RUN apt-get install" in row.reason
    assert judge({"max_size": "200MB"})["size at most 200 MB"].verdict == "passed"


def test_ports_are_exactly_those_exposed() -> None:
    assert judge({"ports": [8000, 9000]})["ports 8000/tcp, 9000/tcp"].verdict == "passed"
    row = judge({"ports": [8000, "53/udp"]})["ports 8000/tcp, 53/udp"]
    assert row.reason == "it does not expose 53/udp; it exposes 9000/tcp as well"
    assert judge({"ports": []}, ExposedPorts=None)["no ports"].verdict == "passed"


def test_labels_by_value_and_by_pattern() -> None:
    label = "org.opencontainers.image.revision"
    assert judge({"labels": {label: {"regex": "[0-9a-f]+"}}})[f"label {label}"].verdict == "passed"
    assert judge({"labels": {label: {"regex": "[0-9]+"}}})[f"label {label}"].verdict == "failed"
    assert judge({"labels": {label: "other"}})[f"label {label}"].reason == "it is '0123abcd', not 'other'"
    assert judge({"labels": {"owner": "me"}}, Labels=None)["label owner"].reason == "there is no label owner"


def test_a_variable_that_must_not_be_set() -> None:
    rows = judge({"env": {"absent": ["LC_ALL", "DEBUG"]}})
    assert rows["variable LC_ALL absent"].verdict == "failed" and rows["variable DEBUG absent"].verdict == "passed"


@pytest.mark.parametrize(
    "line",
    [
        "DB_PASSWORD=hunter2-x",
        "SHOP_DB_PASSWORD=hunter2-x",
        "ACCOUNT=AKIAABCDEFGHIJKLMNOP",
        "DATABASE_URL=postgresql://app:hunter2-x@db/shop",
        "KEY=-----BEGIN RSA PRIVATE KEY-----",
        "GITHUB_TOKEN=x9x9x9x9",
    ],
)
def test_a_credential_in_the_environment_breaks_every_contract_and_is_not_shown(line: str) -> None:
    name, _, value = line.partition("=")
    row = judge({}, Env=["PATH=/bin", line])["environment without secrets"]
    assert row.verdict == "failed" and f"variable {name} holds" in row.reason
    assert value not in str(row)


@pytest.mark.parametrize(
    "line",
    [
        "DB_PASSWORD=",
        "DB_PASSWORD_FILE=/run/secrets/db",
        "TOKENIZERS_PARALLELISM=false",
        "API_TOKEN=/run/secrets/token",
        "AUTH_TOKEN=true",
        "DATABASE_URL=postgresql://app:${DB_PASSWORD}@db/shop",
        "GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568",
        "HOMEPAGE=https://example.com/a:b@c",
    ],
)
def test_what_only_looks_like_a_credential_is_let_through(line: str) -> None:
    assert judge({}, Env=[line])["environment without secrets"].verdict == "passed"


def test_a_name_can_be_allowed() -> None:
    env = ["SESSION_TOKEN=public-by-design"]
    assert judge({}, Env=env)["environment without secrets"].verdict == "failed"
    allowed = judge({"env": {"allowed": ["SESSION_TOKEN"]}}, Env=env)
    assert allowed["environment without secrets"].verdict == "passed"


def test_a_credential_in_the_build_history_is_found_and_taken_out_of_the_layers() -> None:
    step = Step(5, "|1 API_TOKEN=abcdef123 /bin/sh -c pip install --index https://u:pw9pw9@host/simple shop")
    row = judge({}, history=[step])["environment without secrets"]
    assert row.verdict == "failed" and "build history, API_TOKEN" in row.reason
    shown = picture([step], [])[0]["created_by"]
    assert "abcdef123" not in shown and "pw9pw9" not in shown and "pip install" in shown


def test_quotes_around_a_value_do_not_hide_it() -> None:
    assert redacted('ENV DB_PASSWORD="a b c"', ["DB_PASSWORD"]) == "ENV DB_PASSWORD=[secret]"


def test_the_stacks_own_secrets_count_whatever_their_value() -> None:
    assert credential("PIN", "1234", ["PIN"]) == "the stack's secret PIN"
    assert credential("SPIN", "1234", ["PIN"]) == ""


def test_history_is_read_from_the_base_up_and_told_as_people_wrote_it() -> None:
    printed = (
        '{"CreatedBy":"CMD [\\"run\\"]","Size":"0"}\n'
        '{"CreatedBy":"RUN /bin/sh -c make # buildkit","Size":"10"}\n'
        '{"CreatedBy":"/bin/sh -c #(nop) COPY dir:ab in /app ","Size":"20"}\n'
        '{"CreatedBy":"","Size":"120000000"}\n'
    )
    assert picture(parse_history(printed), []) == [
        {"size": 120_000_000, "created_by": "base image"},
        {"size": 20, "created_by": "COPY dir:ab in /app"},
        {"size": 10, "created_by": "RUN make"},
    ]


@pytest.mark.parametrize("said", ["", "[]", "{}", "[5]", '[{"Id": 1}]', '[{"Id": "x", "RootFS": null}]', "[{}, {}]"])
def test_what_docker_cannot_have_printed_is_the_hosts_failure(said: str) -> None:
    with pytest.raises(HostError, match="printed what it cannot") as error:
        read_inspection(said, "canary-1")
    assert error.value.where == "canary-1" and error.value.reason == "agent"


@pytest.mark.parametrize("value", ["a-" * 50_000, "eyJ" + "a-eyJ" * 20_000, "x://a:" * 20_000, "a=" * 50_000])
def test_a_long_value_takes_no_time_to_look_at(value: str) -> None:
    began = time.monotonic()
    credential("NAME", value, ["A"])
    redacted(value, ["A"])
    assert time.monotonic() - began < 20  # it was minutes

"""The example stack's own pure parts: what its services compute, sign and refuse, and what its template renders."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

EXAMPLE = Path(__file__).parents[3] / "examples/ktrdr"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.syspath_prepend(str(EXAMPLE / "tools"))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("ktrdr", "generate_prices")]:
        del sys.modules[name]


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_bundled_prices_are_what_the_generator_writes() -> None:
    assert module("generate_prices").files() == {path.name: path.read_text() for path in (EXAMPLE / "data").iterdir()}


def test_unknown_strategy_names_the_valid_ones() -> None:
    strategies = module("ktrdr.strategies")
    with pytest.raises(strategies.UnknownStrategy) as caught:
        strategies.load(EXAMPLE / "strategies", "neuro_mean_reversion")
    assert str(caught.value) == "unknown strategy 'neuro_mean_reversion'; valid: v3_minimal, v3_single_indicator"


@pytest.mark.parametrize("name", ["../stack", "", ".", "v3_minimal.yaml"])
def test_strategy_names_never_become_paths(name: str) -> None:
    strategies = module("ktrdr.strategies")
    with pytest.raises(strategies.UnknownStrategy):
        strategies.load(EXAMPLE / "strategies", name)


@pytest.mark.parametrize("name", ["v3_minimal", "v3_single_indicator"])
def test_each_strategy_has_indicators_over_the_bundled_prices(name: str) -> None:
    strategies, prices = module("ktrdr.strategies"), module("ktrdr.prices")
    strategy = strategies.load(EXAMPLE / "strategies", name)
    closes = [bar.close for bar in prices.load(EXAMPLE / "data", "EURUSD", "1h")]
    columns = prices.indicators(strategy.indicators, closes)
    assert {len(column) for column in columns.values()} == {len(closes)}
    assert strategy.trading["indicator"] in columns


def test_prices_are_cut_to_the_period() -> None:
    prices = module("ktrdr.prices")
    bars = prices.load(EXAMPLE / "data", "EURUSD", "1h", date(2024, 1, 8), date(2024, 1, 12))
    assert (bars[0].day, bars[-1].day, len(bars)) == (date(2024, 1, 8), date(2024, 1, 12), 120)


@pytest.mark.parametrize(
    ("symbol", "start", "says"),
    [("GBPUSD", date(2024, 1, 1), "available: EURUSD 1d, EURUSD 1h"), ("EURUSD", date(2030, 1, 1), "only 0 bars")],
)
def test_missing_prices_say_what_there_is(symbol: str, start: date, says: str) -> None:
    prices = module("ktrdr.prices")
    with pytest.raises(prices.NoPrices, match=says):
        prices.load(EXAMPLE / "data", symbol, "1h", start)


def test_indicators() -> None:
    prices = module("ktrdr.prices")
    assert prices.indicator("rsi", [1, 2, 3], 2) == [50, 100, 100]
    assert prices.indicator("rsi", [1, 1, 1], 2) == [50, 50, 50]
    assert prices.indicator("rsi", [3, 2, 1], 2)[1:] == [0, 0]
    assert prices.indicator("trend", [1, 3, 5], 2) == [0, 0.5, 0.25]
    with pytest.raises(ValueError, match="valid: rsi, trend"):
        prices.indicator("macd", [1], 2)


def test_a_backtest_buys_low_and_sells_high() -> None:
    account = module("ktrdr.worker.backtesting").Account(1000.0)
    for close, signal in [(10.0, 50.0), (10.0, 20.0), (8.0, 50.0), (20.0, 80.0), (5.0, 50.0)]:
        account.step(close, signal, buy_below=30, sell_above=70)
    assert (account.capital, account.units, account.trades) == (2000.0, 0.0, 2)
    assert account.max_drawdown == pytest.approx(0.2)


def test_tokens_are_taken_from_those_who_know_the_secret_for_a_while() -> None:
    tokens = module("ktrdr.tokens")
    header = "Bearer " + tokens.issue("worker", "secret", now=1000)
    assert tokens.verify(header, "secret", now=1299) == "worker"
    with pytest.raises(tokens.TokenError, match="expired"):
        tokens.verify(header, "secret", now=1301)
    with pytest.raises(tokens.TokenError, match="signature"):
        tokens.verify(header, "other", now=1000)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Basic a.b.c", "Bearer a.b.c", "Bearer ..é"])
def test_what_is_no_token_is_refused(header: str | None) -> None:
    tokens = module("ktrdr.tokens")
    with pytest.raises(tokens.TokenError):
        tokens.verify(header, "secret")


def test_settings_name_what_is_missing() -> None:
    settings = module("ktrdr.settings")
    good = {"DB_HOST": "10.0.0.1", "DB_PASSWORD": "hidden", "JWT_SECRET": "hidden"}
    read = settings.Settings.from_environment
    assert "hidden" not in repr(read(good))
    with pytest.raises(settings.SettingsError, match="DB_HOST, JWT_SECRET must be set"):
        read({"DB_PASSWORD": "x"})
    with pytest.raises(settings.SettingsError, match="WORKER_TYPE, WORKER_PORT, WORKER_PUBLIC_URL, BACKEND_URL"):
        read(good | {"KTRDR_SERVICE": "worker"})
    with pytest.raises(settings.SettingsError, match="DB_PORT is 'x'"):
        read(good | {"DB_PORT": "x"})


SERVICES = ["db", "backend", "backtest-worker", "training-worker", "gpu-training-worker"]
FLEET = {"a": SERVICES[:2], "b": SERVICES[2:4], "c": SERVICES[4:]}


def rendered(host: str, placed: dict[str, list[str]], gpus: tuple[str, ...] = ()) -> dict[str, Any]:
    addresses = {name: f"10.0.0.{number}" for number, name in enumerate(placed, 1)}
    jinja = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = jinja.from_string((EXAMPLE / "templates/compose.yml.j2").read_text()).render(
        environment="canary",
        stack="ktrdr",
        address=addresses[host],
        hosts={name: {"address": addresses[name], "services": there} for name, there in placed.items()},
        services=placed[host],
        service_hosts={service: [name for name, there in placed.items() if service in there] for service in SERVICES},
        images={service: f"canaryctl/ktrdr/{service}:0" for service in SERVICES},
        gpus=list(gpus),
    )
    document: dict[str, Any] = yaml.safe_load(text)
    return document


@pytest.mark.parametrize("placed", [{"a": SERVICES[:4]}, FLEET], ids=["one host", "three hosts"])
def test_the_template_renders_what_is_placed_on_a_host_and_binds_to_its_address(placed: dict[str, list[str]]) -> None:
    for number, (host, services) in enumerate(placed.items(), 1):
        blocks = rendered(host, placed)["services"]
        assert list(blocks) == services
        for name, block in blocks.items():
            assert block["image"] == f"canaryctl/ktrdr/{name}:0"
            assert block["pull_policy"] == "never"
            assert block["stop_grace_period"] == "30s"
            assert [str(port).split(":")[0] for port in block["ports"]] == [f"10.0.0.{number}"]


def test_workers_on_another_host_find_the_backend_and_say_where_they_are() -> None:
    environment = rendered("b", FLEET)["services"]["training-worker"]["environment"]
    assert isinstance(environment, dict)
    assert environment["BACKEND_URL"] == "http://10.0.0.1:18000"
    assert environment["DB_HOST"] == "10.0.0.1"
    assert environment["WORKER_PUBLIC_URL"] == "http://10.0.0.2:15004"
    assert environment["DB_PASSWORD"] == "${DB_PASSWORD:?}"


def test_the_gpu_worker_knows_whether_its_host_has_a_gpu_and_leaves_the_devices_to_canaryctl() -> None:
    for gpus, told in ((("GPU 0",), "true"), ((), "false")):
        service = rendered("c", FLEET, gpus=gpus)["services"]["gpu-training-worker"]
        assert isinstance(service["environment"], dict) and service["environment"]["WORKER_GPU"] == told
        assert "deploy" not in service

"""The bundled price data and the indicators computed from it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any


class NoPrices(LookupError):  # noqa: N818  a user's mistake, told as it is
    """There is no data for what was asked; the message says what there is."""


@dataclass(frozen=True)
class Bar:
    """One bar; `day` is its UTC date."""

    timestamp: str
    day: date
    close: float


def available(folder: Path) -> list[str]:
    """What there is, as 'SYMBOL TIMEFRAME', sorted."""
    return sorted(path.stem.replace("_", " ") for path in folder.glob("*_*.csv"))


def load(
    folder: Path, symbol: str, timeframe: str, start: date | None = None, end: date | None = None, least: int = 60
) -> list[Bar]:
    """The bars of a symbol from `start` to `end`, both included; raises NoPrices where there are fewer than `least`."""
    wanted = f"{symbol} {timeframe}"
    if wanted not in available(folder):
        raise NoPrices(f"no price data for '{wanted}'; available: {', '.join(available(folder)) or 'none'}")
    with (folder / f"{symbol}_{timeframe}.csv").open(newline="") as rows:
        every = [
            Bar(row["timestamp"], date.fromisoformat(row["timestamp"][:10]), float(row["close"]))
            for row in csv.DictReader(rows)
        ]
    bars = [bar for bar in every if (start is None or bar.day >= start) and (end is None or bar.day <= end)]
    if len(bars) < least:
        covered = f"{every[0].day} to {every[-1].day}"
        raise NoPrices(f"only {len(bars)} bars of '{wanted}' in that period, {least} are needed; data covers {covered}")
    return bars


def indicator(kind: str, closes: Sequence[float], period: int) -> list[float]:
    """An indicator's value at each close: `rsi` from 0 to 100, `trend` as close / moving average - 1."""
    if kind == "rsi":
        return _rsi(closes, period)
    if kind == "trend":
        return [close / average - 1 for close, average in zip(closes, _averages(closes, period), strict=True)]
    raise ValueError(f"unknown indicator type {kind!r}; valid: rsi, trend")


def indicators(wanted: dict[str, dict[str, Any]], closes: Sequence[float]) -> dict[str, list[float]]:
    """A strategy's indicators by name."""
    return {name: indicator(spec["type"], closes, spec["period"]) for name, spec in wanted.items()}


def _rsi(closes: Sequence[float], period: int) -> list[float]:
    """Relative strength with exponential smoothing; 50 where nothing has moved."""
    values, gain, loss = [50.0], 0.0, 0.0
    for before, now in pairwise(closes):
        move = now - before
        gain += (max(move, 0.0) - gain) / period
        loss += (max(-move, 0.0) - loss) / period
        values.append(100 * gain / (gain + loss) if gain + loss else 50.0)
    return values


def _averages(closes: Sequence[float], period: int) -> list[float]:
    """Moving average over up to `period` closes, this one included."""
    averages, total = [], 0.0
    for index, close in enumerate(closes):
        total += close - (closes[index - period] if index >= period else 0.0)
        averages.append(total / min(index + 1, period))
    return averages

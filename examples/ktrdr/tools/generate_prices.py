"""Writes the bundled price data: a seeded random walk, not market data, and the same on every run."""

from __future__ import annotations

import csv
import io
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"


def walk(*, start: datetime, step: timedelta, rows: int, seed: int, price: float, spread: float) -> str:
    """CSV text of `rows` bars of `step`, weekends left out. `spread` is the standard deviation of one bar's move."""
    chance = random.Random(seed)  # noqa: S311  reproducible, not secret
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["timestamp", "open", "high", "low", "close", "volume"])
    when, mean, written = start, price, 0
    while written < rows:
        if when.weekday() < 5:
            first = price
            # Pulled gently to the mean, so that both buy and sell signals occur.
            price += chance.gauss(0, spread) + (mean - price) * 0.02
            high = max(first, price) + abs(chance.gauss(0, spread / 2))
            low = min(first, price) - abs(chance.gauss(0, spread / 2))
            volume = chance.randrange(100, 1000)
            stamp = when.strftime("%Y-%m-%dT%H:%M:%SZ")
            out.writerow([stamp, *(f"{value:.5f}" for value in (first, high, low, price)), volume])
            written += 1
        when += step
    return text.getvalue()


def files() -> dict[str, str]:
    """Content of each bundled file by name."""
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    return {
        "EURUSD_1h.csv": walk(start=begin, step=timedelta(hours=1), rows=1560, seed=1, price=1.1, spread=0.001),
        "EURUSD_1d.csv": walk(start=begin, step=timedelta(days=1), rows=520, seed=2, price=1.1, spread=0.005),
    }


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    for name, content in files().items():
        (DATA / name).write_text(content)

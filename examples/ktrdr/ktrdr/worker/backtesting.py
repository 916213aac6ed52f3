"""Backtests: a strategy's rule played over past prices, bar by bar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from ktrdr import prices, strategies

if TYPE_CHECKING:
    from ktrdr.settings import Settings
    from ktrdr.worker.runner import Task


@dataclass
class Account:
    """Money, and what it is in: `units` of the symbol when in the market, else 0."""

    capital: float
    units: float = 0.0
    trades: int = 0
    peak: float = 0.0
    max_drawdown: float = 0.0

    def step(self, close: float, signal: float, buy_below: float, sell_above: float) -> None:
        """One bar: trade on the signal, then take stock."""
        if self.units == 0 and signal < buy_below:
            self.units, self.capital, self.trades = self.capital / close, 0.0, self.trades + 1
        elif self.units and signal > sell_above:
            self.units, self.capital, self.trades = 0.0, self.units * close, self.trades + 1
        worth = self.worth(close)
        self.peak = max(self.peak, worth)
        self.max_drawdown = max(self.max_drawdown, 1 - worth / self.peak)

    def worth(self, close: float) -> float:
        """What the account is worth at a price."""
        return self.capital + self.units * close


def work(settings: Settings, task: Task) -> dict[str, Any]:
    """Carry out a backtest; its result in numbers."""
    from ktrdr.worker.runner import Stopped

    asked = task.parameters
    strategy = strategies.load(settings.strategies, asked["strategy_name"])
    start, end = date.fromisoformat(asked["start_date"]), date.fromisoformat(asked["end_date"])
    bars = prices.load(settings.prices, asked["symbol"], asked["timeframe"], start, end)
    closes = [bar.close for bar in bars]
    signals = prices.indicators(strategy.indicators, closes)[strategy.trading["indicator"]]
    account, trading = Account(asked["initial_capital"]), strategy.trading
    for done, (close, signal) in enumerate(zip(closes, signals, strict=True), 1):
        if task.stopping.is_set():
            raise Stopped
        account.step(close, signal, trading["buy_below"], trading["sell_above"])
        task.report(100 * done / len(bars))
    final = account.worth(closes[-1])
    return {
        "bars": len(bars),
        "final_capital": round(final, 2),
        "total_return": round(final / asked["initial_capital"] - 1, 6),
        "trades": account.trades,
        "max_drawdown": round(account.max_drawdown, 6),
    }

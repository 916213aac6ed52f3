"""Trainings: a small network learns from a strategy's indicators whether the price will rise."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import torch

from ktrdr import prices, strategies
from ktrdr.settings import Settings
from ktrdr.strategies import Strategy
from ktrdr.worker.runner import Cancelled, Stopped, Task

LOG = logging.getLogger("ktrdr.worker")
SAVE_EVERY = 5.0  # seconds between checkpoints, for a worker that ends without warning

# The network is far too small for more: threads would only wait for each other.
torch.set_num_threads(1)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Trainer:
    """A network, its optimiser and how far they have come."""

    def __init__(self, features: torch.Tensor, targets: torch.Tensor, plan: dict[str, Any]) -> None:
        torch.manual_seed(1)
        self.features, self.targets, self.batch = features.to(DEVICE), targets.to(DEVICE), plan["batch_size"]
        self.net = torch.nn.Sequential(
            torch.nn.Linear(features.shape[1], plan["hidden"]), torch.nn.Tanh(), torch.nn.Linear(plan["hidden"], 1)
        ).to(DEVICE)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=plan["learning_rate"])
        self.lose = torch.nn.BCEWithLogitsLoss()
        self.epoch, self.loss = 0, float("nan")

    def train_epoch(self) -> None:
        """One pass over the data in an order that depends on the epoch alone, so that resuming changes nothing."""
        order = torch.randperm(len(self.features), generator=torch.Generator().manual_seed(self.epoch)).to(DEVICE)
        total = 0.0
        for rows in order.split(self.batch):
            self.optimizer.zero_grad()
            loss = self.lose(self.net(self.features[rows]).squeeze(1), self.targets[rows])
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(rows)
        self.epoch, self.loss = self.epoch + 1, total / len(self.features)

    def accuracy(self) -> float:
        """Share of the bars whose direction the network gets right."""
        with torch.no_grad():
            right = (self.net(self.features).squeeze(1) > 0) == (self.targets > 0.5)
        return float(right.float().mean())

    def save(self, path: Path) -> None:
        """Write a checkpoint; the old one stays until the new one is whole."""
        partial = path.with_suffix(".partial")
        state = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save({**state, "epoch": self.epoch, "loss": self.loss}, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, map_location=DEVICE, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.loss = state["epoch"], state["loss"]


def warm_up() -> None:
    """One epoch over nothing much: torch loads half of itself at the first step, which no operation should wait for."""
    plan = {"hidden": 1, "batch_size": 2, "learning_rate": 0.1}
    Trainer(torch.zeros(2, 1), torch.zeros(2), plan).train_epoch()


def dataset(folder: Path, strategy: Strategy, pairs: list[tuple[str, str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (bars x indicators, each scaled to unit variance) and targets (1 where the price rises, else 0)."""
    ahead = strategy.training["horizon"]
    features, targets = [], []
    for symbol, timeframe in pairs:
        closes = [bar.close for bar in prices.load(folder, symbol, timeframe)]
        columns = prices.indicators(strategy.indicators, closes).values()
        table = torch.tensor(list(zip(*columns, strict=True)), dtype=torch.float32)[:-ahead]
        features.append((table - table.mean(0)) / (table.std(0) + 1e-9))
        rises = [float(later > now) for now, later in zip(closes, closes[ahead:], strict=False)]
        targets.append(torch.tensor(rises))
    return torch.cat(features), torch.cat(targets)


def work(settings: Settings, task: Task) -> dict[str, Any]:
    """Carry out a training, from its checkpoint where there is one; its result in numbers."""
    asked = task.parameters
    strategy = strategies.load(settings.strategies, asked["strategy_name"])
    pairs = [(symbol, timeframe) for symbol in asked["symbols"] for timeframe in asked["timeframes"]]
    trainer = Trainer(*dataset(settings.prices, strategy, pairs), strategy.training)
    epochs = asked["epochs"] or strategy.training["epochs"]
    checkpoint = settings.checkpoints / f"{task.identity}.pt"
    if resumed := checkpoint.exists():
        trainer.load(checkpoint)
        LOG.info("%s resumes at epoch %d of %d", task.identity, trainer.epoch, epochs)
    saved = time.monotonic()
    try:
        while trainer.epoch < epochs:
            if task.stopping.is_set():
                trainer.save(checkpoint)
                raise Stopped(trainer.epoch)
            trainer.train_epoch()
            task.report(100 * trainer.epoch / epochs)
            if time.monotonic() - saved > SAVE_EVERY:
                trainer.save(checkpoint)
                saved = time.monotonic()
    except Cancelled:
        checkpoint.unlink(missing_ok=True)
        raise
    result = {"epochs": trainer.epoch, "samples": len(trainer.features), "resumed": resumed, "device": DEVICE.type}
    checkpoint.unlink(missing_ok=True)
    return result | {"loss": round(trainer.loss, 6), "accuracy": round(trainer.accuracy(), 4)}

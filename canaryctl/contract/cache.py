"""What is known of images already: an image never changes, so neither does what came of its contract."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from canaryctl import __version__
from canaryctl.agent.write.atomic import write_atomic
from canaryctl.config.caches import cache_home
from canaryctl.config.contract import Contract
from canaryctl.contract.results import Row


class Cache:
    """A folder of small files, readable by their owner alone. What is not there, or not whole, is not known.

    Args:
        folder: another one than the user's own.
        read: False makes everything unknown, while what is found out is still kept.
    """

    def __init__(self, folder: Path | None = None, *, read: bool = True) -> None:
        self._reads = read
        self.folder = folder or cache_home("contracts")

    @staticmethod
    def key(identity: str, contract: Contract, secrets: Sequence[str], place: str = "") -> str:
        """The name under which rows are kept: image, contract and everything else they depend on.

        Args:
            identity: the image's config digest.
            secrets: names of the stack's secrets.
            place: where it was checked, if that matters.
        """
        on = [__version__, identity, contract.model_dump(mode="json"), sorted(secrets), place]
        return "rows-" + hashlib.sha256(json.dumps(on, sort_keys=True).encode()).hexdigest()

    def rows(self, key: str) -> list[Row]:
        """The rows kept under a key; empty where there are none."""
        with contextlib.suppress(TypeError):  # a row of another shape
            return [Row(**row) for row in self._read(key) or ()]
        return []

    def keep(self, key: str, rows: Sequence[Row]) -> None:
        """Remember rows."""
        self._write(key, [asdict(row) for row in rows])

    def layers(self, identity: str, secrets: Sequence[str]) -> list[dict[str, Any]] | None:
        """The picture of an image's layers, None where it is not known."""
        found = self._read(_layers_key(identity, secrets))
        whole = isinstance(found, list) and all(
            isinstance(layer, dict) and {"size", "created_by"} <= layer.keys() for layer in found
        )
        return found if whole else None

    def keep_layers(self, identity: str, secrets: Sequence[str], layers: Sequence[dict[str, Any]]) -> None:
        """Remember the picture of an image's layers."""
        self._write(_layers_key(identity, secrets), list(layers))

    def _read(self, key: str) -> Any:
        if not self._reads:
            return None
        try:
            return json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _write(self, key: str, value: Any) -> None:
        with contextlib.suppress(OSError):  # what cannot be remembered is checked again
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(self.folder / f"{key}.json", json.dumps(value).encode())


def _layers_key(identity: str, secrets: Sequence[str]) -> str:
    on = [__version__, identity, sorted(secrets)]
    return "layers-" + hashlib.sha256(json.dumps(on).encode()).hexdigest()

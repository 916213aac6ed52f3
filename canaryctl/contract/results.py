"""What came of checks: one row each."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Row:
    """One check of one image.

    `verdict` is passed, failed, inconclusive (it could not be judged) or skipped (there was no place to judge it).
    `found` is what was seen, `reason` why it did not pass, in a sentence. `where` is `here` or a host's name. `late`
    rows failed for their time and are not remembered: the next time may be quicker. `cached` rows were checked before.
    """

    image: str
    check: str
    verdict: str
    found: str = ""
    reason: str = ""
    where: str = "here"
    seconds: float = 0.0
    late: bool = False
    cached: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As in run.json."""
        return {key: value for key, value in asdict(self).items() if key != "late"}

    def without(self, hidden: dict[str, str]) -> Row:
        """The row with values that must not be shown (value -> name) taken out of its words."""

        def hide(text: str) -> str:
            for value, name in sorted(hidden.items(), key=lambda item: -len(item[0])):
                text = text.replace(value, f"[{name}]")
            return text

        return replace(self, check=hide(self.check), found=hide(self.found), reason=hide(self.reason))

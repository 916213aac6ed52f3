"""`--only` and `--skip`: which probes of a file run."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from canaryctl.config.probes.gpu import Gpu
from canaryctl.config.probes.kinds import Probe, needed_by
from canaryctl.errors import ConfigError


@dataclass(frozen=True)
class Selection:
    """The probes to run, in their order, and why each of the others is left out, by its name."""

    probes: tuple[Probe, ...]
    left_out: dict[str, str]

    @property
    def note(self) -> str:
        """What a reader of the run must know; empty where all probes run."""
        if not self.left_out:
            return ""
        total = len(self.probes) + len(self.left_out)
        others = ", ".join(f"{name} ({why})" for name, why in self.left_out.items())
        return f"only {len(self.probes)} of {total} probes ran, so this proves no release; left out: {others}"


def select_probes(probes: Sequence[Probe], only: Sequence[str], skip: Sequence[str]) -> Selection:
    """Choose by name or tag. What a chosen probe needs runs too; what needs a skipped one does not run either.

    Raises:
        ConfigError: a word is neither a name nor a tag, or no probe is left.
    """
    for option, words in (("--only", only), ("--skip", skip)):
        for word in words:
            _check_word(probes, option, word)
    wanted = {probe.name for probe in probes if not only or _is_meant(probe, only)}
    wanted |= {name for probe in probes if probe.name in wanted for name in _with(probe, probes)}
    skipped = {probe.name for probe in probes if _is_meant(probe, skip)}
    left_out: dict[str, str] = {}
    for probe in probes:
        lost = [name for name in _with(probe, probes) if name in skipped]
        if probe.name in skipped:
            left_out[probe.name] = "--skip"
        elif probe.name not in wanted:
            left_out[probe.name] = "not in --only"
        elif lost:
            left_out[probe.name] = f"needs {lost[0]}"
    chosen = tuple(probe for probe in probes if probe.name not in left_out)
    if not chosen:
        raise ConfigError("--only and --skip leave no probe to run", "", "choose fewer of them")
    return Selection(chosen, left_out)


def _with(probe: Probe, probes: Sequence[Probe]) -> set[str]:
    """What must run for a probe to run: what it needs, and the lifecycle that it watches with what that needs."""
    found = needed_by(probe, probes)
    watched = probe.during if isinstance(probe, Gpu) else None
    for other in probes:
        if other.name == watched:
            found |= {watched, *needed_by(other, probes)}
    return found


def _is_meant(probe: Probe, words: Sequence[str]) -> bool:
    return any(word == probe.name or word in probe.tags for word in words)


def _check_word(probes: Sequence[Probe], option: str, word: str) -> None:
    names = list(dict.fromkeys(name for probe in probes for name in (probe.name, *probe.tags)))
    if word in names:
        return
    nearest = {name.lower(): name for name in names}
    found = difflib.get_close_matches(word.lower(), nearest, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[found[0]]}'?" if found else f"names and tags there are: {', '.join(names)}"
    raise ConfigError(f"{option} '{word}' is neither a probe's name nor a tag", "", hint)

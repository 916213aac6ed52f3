"""Log lines for people: each host and each service in a colour of its own."""

from __future__ import annotations

from canaryctl.cli.output import Printer, field
from canaryctl.commands.logs import LogLine

# Red is left to errors, and black and white to the terminal's own text.
_COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")


class LogPrinter:
    """Prints lines; a name keeps the colour that it had first."""

    def __init__(self, to: Printer) -> None:
        self._to = to
        self._colours: dict[str, str] = {}
        self._widths = {"host": 0, "service": 0}

    def __call__(self, line: LogLine) -> None:
        """Print a line."""
        host, service = self._name("host", line.host), self._name("service", line.service)
        self._to.line(f"{host}  {service}  {' '.join(part for part in (line.time, field(line.text)) if part)}".rstrip())
        self._to.stream.flush()

    def _name(self, kind: str, name: str) -> str:
        self._widths[kind] = max(self._widths[kind], len(name))
        padded = field(name).ljust(self._widths[kind])
        if not self._to.colour or not name:
            return padded
        colour = self._colours.setdefault(f"{kind} {name}", _COLOURS[len(self._colours) % len(_COLOURS)])
        return self._to.paint(padded, colour)

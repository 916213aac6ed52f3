"""`canary_webhook`: where the end of a deploy or rollback is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from canaryctl.config.secrets import resolve_secrets
from canaryctl.errors import ConfigError

NAME = "canary_webhook"
FORMATS = ("generic", "slack")
_TOKEN = 16  # characters from which a part of a URL is more than a word
VERDICTS = ("passed", "failed", "inconclusive", "interrupted", "error")
_EXAMPLE = "for example canary_webhook: {url: {env: HOOK_URL}, format: slack, on: [failed, error]}"


@dataclass(frozen=True)
class Webhook:
    """A URL that is posted to when a run ends with a verdict in `on`. The URL is a secret: who knows it may post."""

    url: str = field(repr=False)
    format: str = "generic"
    on: tuple[str, ...] = VERDICTS

    @property
    def secrets(self) -> dict[str, str]:
        """The URL, and the parts of it that carry its token: libraries print a path without its host."""
        parts = urlsplit(self.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        words = [*parts.path.split("/"), *re.split("[&=]", parts.query)]
        tokens = {f"part {n} of {NAME}": word for n, word in enumerate(words) if len(word) >= _TOKEN}
        password = {f"password of {NAME}": parts.password} if parts.password else {}
        return {NAME: self.url, **({f"path of {NAME}": path} if tokens else {}), **tokens, **password}


def load_webhook(given: Any, where: str) -> Webhook | None:
    """The webhook of an environment's `canary_webhook`: a URL, or a mapping of `url`, `format` and `on`; None for none.

    Raises:
        ConfigError: a key or value it may not have, or the URL's source has none.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):  # YAML reads the key `on` as true
        given = {"on" if str(key) == "True" else key: value for key, value in given.items()}
    known = {"url", "format", "on"}
    settings: Mapping[str, Any] = given if isinstance(given, Mapping) and not set(given) - known else {"url": given}
    form, on = settings.get("format", "generic"), settings.get("on", VERDICTS)
    on = (on,) if isinstance(on, str) else on
    if form not in FORMATS:
        raise ConfigError(f"the format of {NAME} is '{form}'", where, f"one of: {', '.join(FORMATS)}")
    if not isinstance(on, (list, tuple)) or not on or set(map(str, on)) - set(VERDICTS):
        raise ConfigError(f"{NAME} has verdicts in `on` that there are not", where, f"some of: {', '.join(VERDICTS)}")
    url = resolve_secrets([NAME], {NAME: settings.get("url", "")}, where)[NAME]
    if not _is_url(url):
        raise ConfigError(f"{NAME} is no http or https URL", where, _EXAMPLE)
    return Webhook(url, form, tuple(map(str, on)))


def _is_url(text: str) -> bool:
    try:
        return urlsplit(text).scheme in ("http", "https") and bool(urlsplit(text).netloc)
    except ValueError:  # brackets that hold no address
        return False

"""Starts the service that the environment names; all images share this one entry, whatever they hold beside it."""

from __future__ import annotations

import logging
import sys

from ktrdr.settings import Settings, SettingsError


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stdout)
    try:
        settings = Settings.from_environment()
        if settings.service == "backend":
            from ktrdr.backend.app import serve
        else:
            from ktrdr.worker.app import serve
    except SettingsError as wrong:
        sys.exit(f"ktrdr: {wrong}")
    serve(settings)


if __name__ == "__main__":
    main()

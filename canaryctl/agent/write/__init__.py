"""Programs that change a host: images, locks."""

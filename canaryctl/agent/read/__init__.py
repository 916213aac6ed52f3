"""Programs that look at a host and change nothing."""

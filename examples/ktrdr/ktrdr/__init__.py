"""A small trading research system: a backend, workers that register with it, and operations kept in PostgreSQL."""

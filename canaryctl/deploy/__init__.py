"""The story of a deploy: observe, plan, apply, verify, record. sequence.py reads from top to bottom."""

"""The rules, one module for each part of an environment."""

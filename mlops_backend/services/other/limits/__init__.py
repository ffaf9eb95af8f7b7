"""Limits per key: how often, how many tokens, how many at once; docs/limits.md has the exact rules."""

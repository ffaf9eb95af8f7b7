"""Journals: what answers consisted of, kept for those who read late or again."""

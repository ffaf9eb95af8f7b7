"""Bodies of stored conversations, and of their files."""

"""Servers that are not Ollama: what they answered, replayed; and the real ones, compared with and without us."""

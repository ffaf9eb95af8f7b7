"""Chaos: many clients before backends, databases and workers that fail; it ends by itself and says what held."""

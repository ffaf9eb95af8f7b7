"""Mutation testing: `make mutate` breaks the code in small ways and looks whether a test notices."""

"""The HTTP edge: one module a family of routes."""

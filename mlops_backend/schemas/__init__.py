"""Pydantic bodies, one module a service domain."""

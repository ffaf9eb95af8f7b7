"""Clients that generators make of the API's description, and what they get: `make test-description`."""

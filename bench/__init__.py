"""What the service costs, measured against a bare relay, nginx and no proxy at all: `python -m bench`."""

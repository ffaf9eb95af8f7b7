"""Real servers, installed from the package index, asked with and without the service: `make test-servers`."""

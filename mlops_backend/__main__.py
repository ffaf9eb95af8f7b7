"""`python -m mlops_backend`: serve with Hypercorn until a signal, then drain."""

from __future__ import annotations

import sys

from mlops_backend.config import ConfigError, load_settings
from mlops_backend.server import serve_forever


def main() -> int:
    """Serve; 2 when a setting cannot be used."""
    try:
        return serve_forever(load_settings())
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

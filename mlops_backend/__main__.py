"""`python -m mlops_backend`: serve with Hypercorn until a signal, then drain."""

from __future__ import annotations

import sys

from mlops_backend.config import ConfigError, load_settings


def main() -> int:
    """Serve; 2 when a setting cannot be used."""
    try:
        settings = load_settings()
        if settings.workers == 1:
            from mlops_backend.server import serve_forever as serve
        else:  # the parent serves nothing itself, and can do without most of what that needs
            from mlops_backend.workers.supervisor import serve_together as serve
        return serve(settings)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""The load generator, one process a job: `python -m bench.load JOB`; job and result (on stdout) are JSON."""

import asyncio
import gc
import json
import sys
from typing import Any

from bench.burst import burst
from bench.calls import calls
from bench.exchanges import exchanges
from bench.figures import Round
from bench.machine import raise_open_files
from bench.steady import steady
from bench.wire import Address


def run(job: dict[str, Any]) -> dict[str, list[Round]]:
    """Run one job."""
    addresses = [Address(**fields) for fields in job["addresses"]]
    options = job["options"]
    match job["scenario"]:
        case "calls":
            return calls(addresses, **options)
        case "steady":
            return asyncio.run(steady(addresses, **options))
        case "burst":
            return asyncio.run(burst(addresses, **options))
        case "exchanges":
            return asyncio.run(exchanges(addresses, **options))
        case other:
            raise ValueError(other)


def main() -> None:
    """Run from the command line."""
    raise_open_files()
    gc.disable()
    print(json.dumps(run(json.loads(sys.argv[1]))))


if __name__ == "__main__":
    main()

"""`python -m mlops_backend.workers DESCRIPTOR PARENT`: a worker, started by `supervisor.py` and by nobody else."""

from __future__ import annotations

import sys

from mlops_backend.workers.bond import die_with_parent

if __name__ == "__main__":
    die_with_parent(int(sys.argv[2]))  # before the imports, which take a second
    from mlops_backend.workers.worker import main

    sys.exit(main(int(sys.argv[1])))

"""The decisions of limits over two workers, 20,000 of them: a test asks the service and the reference model."""

import subprocess
import sys

from bench.processes import ROOT
from bench.report import Row

TEST = "tests/e2e/test_limits_of_workers.py"
TITLE = "decisions: 20,000 requests over two workers without Redis"
LONGEST = 300.0


def impossible() -> str:
    """Return why it cannot be asked here, or nothing."""
    return "" if (ROOT / TEST).exists() else f"there is no {TEST}"


def row() -> Row:
    """Run the test."""
    # The long one too: in each run there are fewer.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "long or not long", TEST]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"{TEST} has not ended within {LONGEST:.0f} s") from None
    last = done.stdout.strip().splitlines()[-1:]
    words = f"{TEST}: {' '.join(last).strip('= ')}"
    return Row(
        "decisions as the reference model", {}, {}, passed=done.returncode == 0, promise="decisions", words=words
    )

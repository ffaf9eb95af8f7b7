"""Start a program with bounds on its resources: `python -m trial.launch nofile=512 fsize=8388608 -- COMMAND…`."""

import os
import resource
import sys

KINDS = {"nofile": resource.RLIMIT_NOFILE, "fsize": resource.RLIMIT_FSIZE}


def main() -> None:
    """Set the bounds, soft and hard, and become the program."""
    end = sys.argv.index("--")
    for pair in sys.argv[1:end]:
        name, _, most = pair.partition("=")
        resource.setrlimit(KINDS[name], (int(most), int(most)))
    command = sys.argv[end + 1 :]
    os.execv(command[0], command)


if __name__ == "__main__":
    main()

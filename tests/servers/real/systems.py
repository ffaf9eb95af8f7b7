"""A bare Debian system with one package more: for servers that come from there, and are newer than this machine.

Made once with debootstrap, and kept beside the environments of the other servers; a command runs in it with a folder of
this machine at `/mnt`, and with nothing else of it but its network.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scripts.fresh import mirror, why_not
from tests.servers.real.environments import LONGEST, cache

SUITE: Final = "testing"
# What stands at `$0`, and then the folder; the mounts end with the command.
_MOUNTED: Final = """\
mount -t proc proc "$0/proc"
mount -t tmpfs tmpfs "$0/tmp"
mount --bind /dev/null "$0/dev/null"
mount --bind "$1" "$0/mnt"
root=$0; shift
HOME=/tmp exec chroot "$root" "$@"
"""


def system(package: str) -> Path | str:
    """The folder of a system with a package, or a sentence: why there is none."""
    if why := why_not():
        return f"{package} needs a Debian system of its own, and {why}"
    folder = cache() / f"debian-{SUITE}-{package}"
    with (cache() / f"{folder.name}.lock").open("w") as claim:
        fcntl.flock(claim, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        scratch = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(scratch, ignore_errors=True)
        if why := _made(scratch, package):
            shutil.rmtree(scratch, ignore_errors=True)
            return f"Debian's {package} cannot be installed: {why}"
        scratch.rename(folder)
    return folder


def inside(root: str, folder: Path, command: Sequence[str]) -> Sequence[str]:
    """The command that runs another one in a system, with a folder at `/mnt`."""
    return ["unshare", "--mount", "sh", "-euc", _MOUNTED, root, str(folder), *command]


def _made(scratch: Path, package: str) -> str:
    """Nothing, or why not."""
    command = ["debootstrap", "--variant=minbase", f"--include={package}", SUITE, str(scratch), *mirror()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return f"not within {LONGEST:.0f} s"
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("E:")]
    return (lines[-1:] or [f"debootstrap ended with {done.returncode}"])[0][:300] if done.returncode else ""

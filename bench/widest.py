"""The widest bars of a flame graph, of this build and of one before: `python -m bench.widest --against REV`.

py-spy looks at the service many times a second, once while 100 streams speak, once while calls follow each other, and
says which functions are on the stack. The widest are told by their part of all looks in which the loop's thread ran;
the loop, and what starts it, are left out. Each load has a service of its own. py-spy comes from the package index,
into an environment of its own; it needs the right to look into other processes.
"""

import argparse
import asyncio
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import page
from bench.builds import Build, build_of, environments, short_name, this_build
from bench.call_client import Caller
from bench.families import OPENAI_ROUTE
from bench.pace import Pace
from bench.rivals import serving, upstream
from bench.stream_client import Tally, end_streams, finish, open_stream
from bench.wire import Address

VERSION = "0.4.3"
SECONDS = 8
RATE = 400
SHOWN = 10
# What stands under all that the service does; the names are the beginnings of frames.
LOOP = ("Runner.run ", "BaseEventLoop.run", "BaseEventLoop._run_once ", "Handle._run ", "serve_forever ")
LOOP_ITSELF = "the loop itself"
FRAME = re.compile(r"^(?P<function>.+) \((?P<file>[^()]*?)(?::\d+)?\)$")
STREAMS = 100
WARM_UP = 3.0  # seconds in which all streams have begun
Load = Callable[[Address, threading.Event], None]


def spy() -> str:
    """Return py-spy, installed where it is not."""
    folder = environments() / f"py-spy-{VERSION}"
    program = folder / "bin" / "py-spy"
    if not program.exists():
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"py-spy=={VERSION}"],
        ):
            subprocess.run(command, check=True)
    return str(program)


def streams(address: Address, over: threading.Event) -> None:
    """Keep 100 streams speaking until it is over."""

    async def speak() -> None:
        tally = Tally(expected=STREAMS)
        request = address.stream_request(Pace(1_000_000, 0.02))
        running = [asyncio.create_task(open_stream(address, request, tally)) for _ in range(STREAMS)]
        await asyncio.to_thread(over.wait)
        end_streams(address)
        await finish(running, tally, 10)

    asyncio.run(speak())


def calls(address: Address, over: threading.Event) -> None:
    """Make one call after the other until it is over."""
    caller = Caller(address)
    while not over.is_set():
        caller.call()
    caller.close()


LOADS: dict[str, Load] = {"100 streams": streams, "calls one after another": calls}


@contextmanager
def under(load: Load, address: Address) -> Iterator[None]:
    """Keep a load up in a thread until the block ends."""
    over = threading.Event()
    thread = threading.Thread(target=load, args=(address, over))
    thread.start()
    try:
        time.sleep(WARM_UP)
        yield
    finally:
        over.set()
        thread.join()


def looked(address: Address, folder: Path, seconds: float) -> str:
    """Return what py-spy saw: a line for each stack, its frames and how often it was there."""
    path = folder / "stacks"
    command = [spy(), "record", "--pid", str(address.pid), "--format", "raw", "--output", str(path)]
    command += ["--duration", f"{seconds:.0f}", "--rate", str(RATE), "--nonblocking"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"py-spy: {done.stderr.strip()}")
    return path.read_text("utf-8")


def widest(stacks: str, shown: int = SHOWN) -> list[tuple[str, float, float]]:
    """Return the functions that are in most looks: name, part of looks with it on the stack, part with it on top."""
    whole: Counter[str] = Counter()
    own: Counter[str] = Counter()
    total = 0
    for line in stacks.splitlines():
        path, _, count = line.rpartition(" ")
        frames = above_the_loop([_name(frame) for frame in path.split(";") if frame])
        if not frames:
            continue
        total += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            whole[frame] += int(count)
    return [(name, seen / total, own[name] / total) for name, seen in whole.most_common(shown)]


def above_the_loop(frames: Sequence[str]) -> Sequence[str]:
    """Return what the event loop calls, or the loop where it calls nothing; nothing of other threads."""
    places = [place for place, frame in enumerate(frames) if frame.startswith(LOOP)]
    if not places:
        return ()
    return frames[places[-1] + 1 :] or [LOOP_ITSELF]


def _name(frame: str) -> str:
    """Return a frame as function and file, the same for every line of it."""
    found = FRAME.match(frame)
    if not found:
        return frame
    place = re.sub(r"^.*/(?:site-packages|python\d\.\d+)/", "", found["file"])
    return f"{found['function']} ({place})"


def profiles(build: Build, folder: Path, seconds: float) -> dict[str, list[tuple[str, float, float]]]:
    """Return the widest bars of a build under each load."""
    found = {}
    for number, (name, load) in enumerate(LOADS.items()):
        own = folder / str(number)
        own.mkdir()
        with ExitStack() as stack:
            direct = stack.enter_context(upstream(OPENAI_ROUTE, own))
            address = stack.enter_context(serving(build, build.name, OPENAI_ROUTE, direct.port, own, {}))
            stack.enter_context(under(load, address))
            found[name] = widest(looked(address, own, seconds))
    return found


def table(load: str, found: dict[str, dict[str, list[tuple[str, float, float]]]]) -> str:
    """Return the builds' widest bars under one load, beside each other."""
    names = list(found)
    lines = [f"| {load}: {' | '.join(names)} |", "|---" * len(names) + "|"]
    for number in range(max(len(found[name][load]) for name in names)):
        cells = [_cell(found[name][load], number) for name in names]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(parts: Sequence[tuple[str, float, float]], number: int) -> str:
    if number >= len(parts):
        return ""
    name, whole, own = parts[number]
    return f"{whole:.0%}, itself {own:.0%}: `{name}`"


def say(text: str) -> None:
    """Tell how far it has come."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.widest", description=__doc__)
    parser.add_argument("--against", metavar="REV", required=True)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    # Told to stop, it still stops what it has started, and takes the worktree away.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        before = stack.enter_context(build_of(short_name(options.against), folder, say))
        found = {}
        for build in (before, this_build()):
            own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            found[build.name] = profiles(build, own, options.seconds)
    text = "\n\n".join(table(load, found) for load in LOADS)
    print(text)
    if options.write_docs:
        page.PAGE.write_text(page.with_part(page.PAGE.read_text("utf-8"), "widest", text), "utf-8")


if __name__ == "__main__":
    main()

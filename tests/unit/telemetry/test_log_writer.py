"""The log's thread: what it writes, what it counts, and that nobody waits for it."""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from mlops_backend.telemetry import log_writer
from mlops_backend.telemetry.log_writer import LogWriter, StreamSink, sink_for


def report(lost: int, reason: str) -> str:
    """How a loss is told here."""
    return f"lost {lost}: {reason}\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's two ends."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_lines_are_written_in_their_order(tmp_path: Path) -> None:
    """Short ones together, a long one whole; whatever was taken is there when it is closed."""
    lines = [f"{number} {'x' * (number % 7 * 1000)}\n" for number in range(500)]
    with (tmp_path / "log").open("wb") as file:
        writer = LogWriter(file.fileno(), report)
        for line in lines:
            writer.write(line)
        writer.close(5)
    assert (tmp_path / "log").read_text() == "".join(lines)
    assert writer.dropped == 0


def test_a_reader_that_has_gone_costs_lines_and_nothing_else(pipe: tuple[int, int], tmp_path: Path) -> None:
    """Each line is counted, and the loss is told beside the log."""
    read, write = pipe
    os.close(read)
    with (tmp_path / "beside").open("wb") as beside:
        writer = LogWriter(write, report, beside.fileno())
        for _ in range(100):
            writer.write("a line\n")
        writer.finish(5)
        assert writer.dropped == 100
        for _ in range(100):
            writer.write("a line\n")
        writer.close(5)
    assert writer.dropped == 200
    assert (tmp_path / "beside").read_text() == "lost 100: Broken pipe\n", "it is told once a minute"


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    """Each line is counted."""
    with Path("/dev/full").open("wb") as full:
        writer = LogWriter(full.fileno(), report)
        for _ in range(10):
            writer.write("a line\n")
        writer.close(5)
    assert writer.dropped == 10


def test_nobody_waits_for_a_reader(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a pipe that nobody reads lines wait, as many as there is room for; more are counted."""
    monkeypatch.setattr(log_writer, "MOST_LINES", 1000)
    _, write = pipe
    writer = LogWriter(write, report)
    started = monotonic()
    for _ in range(10_000):
        writer.write("x" * 99 + "\n")
    assert monotonic() - started < 5
    assert writer.dropped >= 8000
    started = monotonic()
    writer.close(0.1)
    assert monotonic() - started < 2


def test_lines_that_wait_have_a_bound_in_bytes(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A few long lines are as bad as many short ones."""
    monkeypatch.setattr(log_writer, "MOST_BYTES", 100_000)
    _, write = pipe
    writer = LogWriter(write, report)
    for _ in range(300):
        writer.write("x" * 10_000)
    assert writer.dropped > 270
    writer.close(0.1)


def test_a_reader_that_comes_back_is_told(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Once somebody reads again, the log goes on, and says how many lines it lacks."""
    monkeypatch.setattr(log_writer, "MOST_LINES", 1000)
    read, write = pipe
    writer = LogWriter(write, report)
    for _ in range(3000):
        writer.write("x" * 99 + "\n")
    seen = b""
    while b"lost" not in seen:
        seen += os.read(read, 65536)
    told = int(seen.partition(b"lost ")[2].partition(b":")[0])
    assert told == writer.dropped
    assert seen.count(b"\n") == 3000 - told + 1
    writer.close(1)


def test_a_line_that_was_cut_stays_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind half a line the next one begins anew, so that whoever reads lines loses no other."""
    real = os.write
    failed: list[int] = []

    def failing(descriptor: int, data: bytes) -> int:
        if not failed:
            failed.append(real(descriptor, data[:3]))
            return 3
        if len(failed) == 1:
            failed.append(0)
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    with (tmp_path / "log").open("wb") as file:
        monkeypatch.setattr(os, "write", failing)
        writer = LogWriter(file.fileno(), report)
        writer.write("first line\n")
        writer.finish(5)
        writer.write("second line\n")
        writer.close(5)
    monkeypatch.undo()
    assert (tmp_path / "log").read_text() == "fir\nlost 1: No space left on device\nsecond line\n"


def test_what_was_closed_before_the_start_takes_nothing() -> None:
    """Without a standard output every line is counted, and nothing is written where another file may be by now."""
    sink = sink_for(None, report)
    sink.write("a line\n")
    assert sink.dropped == 1


def test_a_stream_without_a_descriptor_is_written_at_once() -> None:
    """As in a notebook."""
    stream = io.StringIO()
    sink = sink_for(stream, report)
    sink.write("a line\n")
    sink.finish(1)
    sink.close(1)
    assert isinstance(sink, StreamSink)
    assert (stream.getvalue(), sink.dropped) == ("a line\n", 0)


def test_the_count_is_right_whoever_loses_them(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that find no room and lines that cannot be written are lost in two threads, and each is counted once."""
    monkeypatch.setattr(log_writer, "MOST_LINES", 50)
    read, write = pipe
    os.close(read)
    writer = LogWriter(write, report)
    for _ in range(50_000):
        writer.write("a line\n")
    writer.finish(5)
    assert writer.dropped == 50_000
    writer.close(1)


def test_without_a_thread_lines_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no thread nothing is raised; the next line tries again."""
    with (tmp_path / "log").open("wb") as file:
        writer = LogWriter(file.fileno(), report)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            writer.write("first\n")
        writer.write("second\n")
        writer.close(5)
    assert (tmp_path / "log").read_text() == "first\nsecond\n"


def refuse(thread: threading.Thread) -> None:
    """What `Thread.start` does at the system's limit."""
    raise RuntimeError("can't start new thread")


def test_lines_are_written_together_up_to_a_bound() -> None:
    """As many whole lines as fit are one piece; a longer one is one by itself."""
    most = log_writer._AT_ONCE
    short, long = b"x" * (most // 2), b"y" * (most + 1)
    pieces = list(log_writer._pieces(deque([short, short, short, long, short])))
    assert pieces == [(short + short, 2), (short, 1), (long, 1), (short, 1)]

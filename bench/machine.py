"""What the operating system tells about a process, and about this machine."""

import os
import platform
import resource
import sys
import time

import psutil

WANTED_FILES = 65536


def raise_open_files() -> None:
    """Raise this process's limit of open files as far as it goes; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, user and system, of all its threads."""
    if sys.platform == "linux":
        # The kernel's process clock counts nanoseconds; /proc/PID/stat, which psutil reads, counts 10 ms.
        return time.clock_gettime((~pid << 3) | 2)
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def busy_seconds() -> float:
    """Return the CPU time that this machine has spent on anything, or lost to its host."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


def own_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def pulse() -> float:
    """Return how many milliseconds of CPU a fixed piece of work takes now: a shared machine has fast and slow hours."""
    begun, total = time.thread_time(), 0
    for number in range(200_000):
        total += number * number
    return (time.thread_time() - begun) * 1e3


def resident_bytes(pid: int) -> int:
    """Return how much memory of a process is resident."""
    return int(psutil.Process(pid).memory_info().rss)


def describe() -> dict[str, str | int]:
    """Return what a reader needs to judge the figures by."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpus": os.cpu_count() or 0,
        "cpu_model": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()

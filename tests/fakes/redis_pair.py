"""Real Redises or Valkeys on loopback: two of which one follows the other, a cluster of three, and a Sentinel."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from tests.fakes.postgres_pair import free_port
from tests.fakes.redis_server import redis_program

# What Sentinels call the Redis that they watch.
WATCHED = "the.primary"
_PATIENCE = 15.0
_SLOTS = 16384
# The nodes of a cluster talk to each other at a port that is 10,000 higher.
_BUS = 10_000
_HIGHEST = 55_000


class RedisNode:
    """One server on a port of loopback.

    Args:
        options: more words of its command line.
        program: another one than this machine's Redis.
    """

    _password = ""

    def __init__(self, *options: str, program: str = "") -> None:
        self.port = free_port()
        while self.port > _HIGHEST or not _is_free(self.port + _BUS):
            self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="redis-", dir="/tmp"))
        self._words = [program or redis_program(), *self._first(), "--bind", "127.0.0.1", *options]
        self._process: subprocess.Popen[bytes] | None = None

    def _first(self) -> list[str]:
        return ["--port", str(self.port), "--save", "", "--dir", str(self._folder), "--repl-diskless-sync-delay", "0"]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: bool(self.ask("PING")), f"{self._words[0]} does not start")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE)
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """End it at once, as a machine that is switched off."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(_PATIENCE)

    def ask(self, *words: str | int) -> Any:
        """Have it run a command, as the administrator."""
        with Redis(port=self.port, password=self._password, socket_timeout=_PATIENCE, protocol=2) as client:
            execute: Any = client.execute_command
            return execute(*words)


class RedisPair:
    """A primary and a replica that follows it."""

    def __init__(self, program: str = "") -> None:
        self.primary, self.replica = RedisNode(program=program), RedisNode(program=program)

    def __enter__(self) -> RedisPair:
        with ExitStack() as stack:
            for node in (self.primary, self.replica):
                stack.enter_context(node)
            self.replica.ask("REPLICAOF", "127.0.0.1", self.primary.port)
            wait_for(lambda: self.replica.ask("ROLE")[3] == b"connected", "the replica is connected")
            self._opened = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def demote(self) -> None:
        """The primary hands over to the replica, which has all of it, and follows; both stay up."""
        self.primary.ask("FAILOVER")
        wait_for(lambda: self.replica.ask("ROLE")[0] == b"master", "the replica takes over")
        self.primary, self.replica = self.replica, self.primary
        wait_for(lambda: self.replica.ask("ROLE")[0] == b"slave", "the primary follows")
        wait_for(lambda: self.replica.ask("ROLE")[3] == b"connected", "the replica is connected")


class RedisSentinel(RedisNode):
    """A Sentinel that watches a primary, and puts its replica in its place soon after it is gone.

    Args:
        primary: whom it watches.
        settings: more lines of its file.
        password: what it asks for.
        program: another one than this machine's Redis.
    """

    def __init__(self, primary: int, *settings: str, password: str = "", program: str = "") -> None:
        super().__init__(program=program)
        self._password = password
        self._file = self._folder / "sentinel.conf"
        watched = [
            f"sentinel monitor {WATCHED} 127.0.0.1 {primary} 1",
            f"sentinel down-after-milliseconds {WATCHED} 500",
            f"sentinel failover-timeout {WATCHED} 3000",
        ]
        asks = [f'requirepass "{password}"'] if password else []
        lines = (f"port {self.port}", "bind 127.0.0.1", f"dir {self._folder}", *watched, *asks, *settings)
        self._file.write_text("\n".join((*lines, "")), "utf-8")
        self._words = [program or redis_program(), str(self._file), "--sentinel"]

    @property
    def url(self) -> str:
        """Where the service finds the Redis that it watches."""
        return f"redis+sentinel://127.0.0.1:{self.port}/{WATCHED}/0"

    def is_ready(self) -> bool:
        """Whether it knows of a replica that can take the primary's place."""
        told = (dict(zip(words[::2], words[1::2], strict=True)) for words in self.ask("SENTINEL", "REPLICAS", WATCHED))
        return any((each[b"flags"], each[b"master-link-status"]) == (b"slave", b"ok") for each in told)


class RedisClusterOfThree:
    """Three primaries that share the slots."""

    def __init__(self) -> None:
        words = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        self.nodes = [RedisNode(*words) for _ in range(3)]

    def __enter__(self) -> RedisClusterOfThree:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            self._join()
            self._opened = stack.pop_all()
        return self

    def _join(self) -> None:
        first, share = self.nodes[0], -(-_SLOTS // len(self.nodes))
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "ADDSLOTS", *range(number * share, min(_SLOTS, (number + 1) * share)))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if node is not first:
                node.ask("CLUSTER", "MEET", "127.0.0.1", first.port)
        wait_for(lambda: all(map(_is_whole, self.nodes)), "the cluster comes together")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


def _is_free(port: int) -> bool:
    """Whether nobody has it."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _is_whole(node: RedisNode) -> bool:
    told = str(node.ask("CLUSTER", "INFO"))
    return "cluster_state:ok" in told and "cluster_known_nodes:3" in told


def wait_for(holds: Callable[[], bool], what: str) -> None:
    """Wait until it does."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            if holds():
                return
        except RedisError:
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"not in time: {what}")
        time.sleep(0.01)

"""Two processes, one key, one Redis that is restarted in the middle: every decision is the model's."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis import Redis

from mlops_backend.services.other.limits.script import ADMITTED, REFUSED
from tests.e2e.limits_worker import BEFORE, LIFE, LIMITS, LOG, PRINCIPAL
from tests.e2e.processes import REPOSITORY, clean_environment, wait_until
from tests.fakes.limits_model import LimitsModel
from tests.fakes.redis_server import RedisServer

REQUESTS = 20_000
PROCESSES = 2
RESTART_AFTER = 6_000


@dataclass
class Replay:
    """The model, fed with what Redis did in the order in which it did it."""

    seen: dict[str, dict[str, Any]]
    model: LimitsModel = field(
        default_factory=lambda: LimitsModel(
            seed=lambda label: BEFORE[label if len(label) == 10 else f"{label}-01"], life=LIFE
        )
    )
    decided: Counter[str] = field(default_factory=Counter)
    ends: dict[str, list[str]] = field(default_factory=dict)

    def step(self, kind: str, told: list[str], answer: list[int]) -> None:
        """Do what one script did, and compare."""
        match kind:
            case "RESERVE" if answer[0] in (ADMITTED, REFUSED):
                self._reserve(told, answer)
            case "SETTLE":
                self._settle(told, closed=answer[0] == 1)

    def _reserve(self, told: list[str], answer: list[int]) -> None:
        name, tokens, least = told[0], int(told[6]), int(told[16])
        verdict = self.model.reserve(LIMITS, least, tokens, int(told[1]), name)
        assert (answer[0] == REFUSED) == bool(verdict.named), (name, verdict)
        assert int(answer[2]) == verdict.taken, name
        self.decided[verdict.named] += 1
        if name in self.seen:
            assert self.seen[name] == {"name": name, "named": verdict.named, "left": verdict.left}

    def _settle(self, told: list[str], *, closed: bool) -> None:
        name, used, released = told[0], int(told[1]), told[3] == "1"
        assert closed == (name in self.model.open), name
        if released:
            self.model.release(name)
        else:
            self.model.settle(LIMITS, name, used)
        if closed:
            self.ends.setdefault(name, []).append("release" if released else f"settle {used}")


@pytest.mark.long
def test_two_processes_decide_as_one() -> None:
    """Of 20,000 requests of two processes each is decided as the model does in Redis's order, and none is lost.

    Clients leave at any moment, a day and a month end, and Redis is stopped and started again: every end of a
    reservation is counted once, nothing is admitted beyond a limit, and at the end nothing is reserved.
    """
    with RedisServer(append_only=True) as server:
        outputs = _run(server)
        client = Redis(unix_socket_path=str(server.socket), decode_responses=True)
        log = [json.loads(line) for line in client.lrange(LOG, 0, -1)]
        of = f"mlops:{{{PRINCIPAL.id}}}:"
        assert client.zcard(of + "open") == client.hlen(of + "records") == 0
        assert client.hget(of + "state", "held") == "0"
        client.close()
    events = [event for output in outputs for event in output["seen"]]
    replay = Replay({event["name"]: event for event in events if "named" in event})
    for kind, told, answer in log:
        replay.step(kind, told, [int(number) for number in answer])
    assert replay.model.open == {}
    ended = {
        event["name"]: "release" if event["ended"] == "release" else f"settle {event['tokens']}"
        for event in events
        if "ended" in event
    }
    assert {name: replay.ends.get(name) for name in ended} == {name: [end] for name, end in ended.items()}
    # Rates grow back with the clock: which limits are met is up to how fast the machine is.
    assert replay.decided[""] > 0, replay.decided
    assert len(replay.decided) > 2, replay.decided
    assert replay.decided.total() > REQUESTS * 0.95
    assert [output["pending"] for output in outputs] == [0] * PROCESSES


def _run(server: RedisServer) -> list[dict[str, Any]]:
    """Both processes from start to end, and the restart; what each of them saw."""
    began = time.time()
    arguments = [[server.url, f"p{number}", str(began), str(REQUESTS // PROCESSES)] for number in range(PROCESSES)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.limits_worker", *each],
            cwd=REPOSITORY,
            env=clean_environment(),
            stdout=subprocess.PIPE,
        )
        for each in arguments
    ]
    try:
        with Redis(unix_socket_path=str(server.socket)) as client:
            wait_until(lambda: client.llen(LOG) > RESTART_AFTER, 20, lambda: f"{client.llen(LOG)} steps")
        server.stop()
        time.sleep(0.3)
        server.start()
        outputs = [process.communicate(timeout=30)[0] for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    return [json.loads(output.splitlines()[-1]) for output in outputs]

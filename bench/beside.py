"""The comparisons of this build with the build before it: tokens, calls, arrivals at once, memory, stored exchanges."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from bench.contests import Contest
from bench.families import (
    ALL,
    CHAT_ROUTE,
    EMBEDDINGS_ROUTE,
    OLLAMA,
    OPENAI_ROUTE,
    OWN,
    SERVER,
    STORED,
    TRANSLATED,
    Family,
)
from bench.metrics import beside_before, stored_beside_before
from bench.plan import BESIDE, BESIDE_CALLS, BESIDE_OTHERS, BESIDE_STORED, Plan
from bench.rivals import BEFORE, DIRECT, NAMES, NOW, Builds, serving, started, upstream
from bench.stage import Stage, rotated
from bench.wire import Address

IDLE_BOUND = 80
UNSTORED = "unstored"
MESSAGES = ALL[4]
# The family with everybody else, and the one whose arrivals and memory are looked at.
WITH_OTHERS = SERVER
BESIDES: dict[Family, Plan] = {
    SERVER: BESIDE_OTHERS,
    OPENAI_ROUTE: BESIDE,
    OLLAMA: BESIDE,
    OWN: BESIDE,
    MESSAGES: BESIDE,
    TRANSLATED: BESIDE,
    EMBEDDINGS_ROUTE: BESIDE_CALLS,
}
STORING = "stored"


def contests(of: Builds) -> dict[str, Contest]:
    """Return all comparisons by name."""
    found = {family.name: _family(of, family, plan) for family, plan in BESIDES.items()}
    return found | {STORING: _stored(of)}


def _family(of: Builds, family: Family, plan: Plan) -> Contest:
    others = of.others if family is WITH_OTHERS else []

    @contextmanager
    def staged(folder: Path) -> Iterator[Stage]:
        with started(of, family, [BEFORE, NOW, *others], folder) as found:

            def visits(scenario: str, number: int) -> Sequence[Address]:
                without = [DIRECT] if scenario in ("steady", "burst") else []
                return rotated([address for name, address in found.items() if name not in without], number)

            yield Stage(list(found.values()), visits)

    title = family.title + (", before a server of OpenAI's API" if family.openai_server else "")
    bound = IDLE_BOUND if family is WITH_OTHERS else None
    return Contest(title, NOW, BEFORE, NAMES, beside_before(others), plan, staged, idle_bound=bound)


def _stored(of: Builds) -> Contest:
    """Compare stored exchanges of the builds; this build runs twice, since what it puts off is to count where it is."""
    columns = (BEFORE, NOW, UNSTORED)

    @contextmanager
    def staged(folder: Path) -> Iterator[Stage]:
        with ExitStack() as stack:
            behind = stack.enter_context(upstream(CHAT_ROUTE, folder))
            found = {}
            for name in columns:
                build = of.before if name == BEFORE else of.now
                service = serving(build, name, CHAT_ROUTE, behind.port, folder, {})
                found[name] = stack.enter_context(service)
            sides = found | {name: _storing(found[name]) for name in (BEFORE, NOW)}

            def visits(scenario: str, number: int) -> Sequence[Address]:
                # A thousand stored at once take the build before many seconds: once is enough.
                few = (NOW, UNSTORED) if number else columns
                return rotated([sides[name] for name in (few if scenario == "burst" else (BEFORE, NOW))], number)

            yield Stage([behind, *found.values()], visits)

    metrics = stored_beside_before(UNSTORED)
    return Contest(f"{STORING}: POST {STORED.service_stream}", NOW, BEFORE, columns, metrics, BESIDE_STORED, staged)


def _storing(address: Address) -> Address:
    path = STORED.service_stream
    return replace(address, stream_path=path, whole_path=path, family_name=STORED.name)

"""The comparisons that can be run, each with its targets, its plans and its rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import targets
from bench.families import ALL, CARRIED, CHAT_ROUTE, FAMILIES, STORED, Family
from bench.metrics import OF_CARRIED, OF_PROXIES, Metric, of_conversations
from bench.plan import BESIDE, FULL, FULL_CONVERSATIONS, QUICK, QUICK_CARRIED, QUICK_CONVERSATIONS, Plan
from bench.stage import Stage, rotated
from bench.wire import Address

CONVERSATIONS = "conversations"
NULL = "null"
NAMES = (*(family.name for family in ALL), CONVERSATIONS, CARRIED.name, NULL)
COMPARED = ("bare", "service")
UNSTORED, STORED_NAME, AGAIN, NATIVE = "unstored", "stored", "again", "native"
MESSAGES = ALL[4]


@dataclass(frozen=True)
class Contest:
    """One table: `subject` is compared with `reference`; `staged` starts the servers, with a folder for their files."""

    title: str
    subject: str
    reference: str
    columns: Sequence[str]
    metrics: Sequence[Metric]
    plan: Plan
    staged: Callable[[Path], AbstractContextManager[Stage]]
    idle_bound: float | None = None

    @property
    def name(self) -> str:
        """What the title begins with."""
        return self.title.partition(":")[0]


def contest(name: str, *, quick: bool, wanted: Sequence[str]) -> Contest:
    """Return the comparison of this name; `wanted` are the targets where there is a choice."""
    if name == CONVERSATIONS:
        return _stored(f"conversations: POST {STORED.service_stream}", STORED, STORED_NAME, quick=quick)
    if name == NULL:
        return _stored("null: the method finds no difference where there is none", CHAT_ROUTE, AGAIN, quick=quick)
    if name == CARRIED.name:
        return _carried(quick=quick)
    return _proxies(FAMILIES[name], QUICK if quick else FULL, targets.available(wanted))


def _proxies(family: Family, plan: Plan, names: Sequence[str]) -> Contest:
    @contextmanager
    def staged(folder: Path) -> Iterator[Stage]:
        with targets.started(family, names, folder) as found:

            def visits(scenario: str, number: int) -> Sequence[Address]:
                few = scenario == "burst" and number >= plan.reference
                return rotated([found[name] for name in names if not few or name in COMPARED], number)

            yield Stage(list(found.values()), visits)

    return Contest(family.title, "service", "bare", targets.NAMES, OF_PROXIES, plan, staged, idle_bound=90)


def _carried(*, quick: bool) -> Contest:
    """Compare messages that a server of OpenAI's API has to be asked for in other words with those of an Ollama."""

    @contextmanager
    def staged(folder: Path) -> Iterator[Stage]:
        with targets.twins((MESSAGES, CARRIED), folder) as (upstream, *services):
            roles = [replace(each, name=name) for each, name in zip(services, (NATIVE, CARRIED.name), strict=True)]
            yield Stage([upstream, *services], lambda scenario, number: rotated(roles, number))

    title, names = f"{CARRIED.name}: POST {CARRIED.service_stream}, over {CARRIED.path}", (NATIVE, CARRIED.name)
    return Contest(title, CARRIED.name, NATIVE, names, OF_CARRIED, QUICK_CARRIED if quick else BESIDE, staged)


def _stored(title: str, family: Family, name: str, *, quick: bool) -> Contest:
    """Compare a family's streams with the same chat unstored.

    Each has a service process of its own, so that what is put off is counted where it belongs; in every second job
    they change places, for no two processes are quite alike.
    """

    @contextmanager
    def staged(folder: Path) -> Iterator[Stage]:
        with targets.twins((CHAT_ROUTE, CHAT_ROUTE), folder) as (upstream, *services):

            def visits(scenario: str, number: int) -> Sequence[Address]:
                pairs = zip(rotated(roles, number), services, strict=True)
                return [
                    replace(role, port=service.port, pid=service.pid, upstream=service.upstream)
                    for role, service in pairs
                ]

            roles = [_role(UNSTORED, CHAT_ROUTE), _role(name, family)]
            yield Stage([upstream, *services], visits)

    plan = QUICK_CONVERSATIONS if quick else FULL_CONVERSATIONS
    return Contest(title, name, UNSTORED, (UNSTORED, name), of_conversations(UNSTORED), plan, staged)


def _role(name: str, family: Family) -> Address:
    return Address(name, 0, family.service_stream, family.service_whole, targets.KEY, family_name=family.name)

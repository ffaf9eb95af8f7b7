"""The queue in Redis as it is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from mlops_backend.services.llm.leases.lessor import Place, Standing, View
from mlops_backend.services.llm.leases.redis_book import Page


def view_of(
    page: Page,
    most: Mapping[str, int | None],
    taken: Callable[[str], int],
    expected: Callable[[Sequence[str], int], float],
    key: str | None,
) -> View:
    """What a page of the book shows.

    Args:
        page: of the book.
        most: the backends of this process, each with its bound.
        taken: how many leases of one this process has.
        expected: the seconds until it comes to one who waits for some of them, with so many before it.
        key: whose places are shown; `None`: everybody's.
    """
    return View(len(page.waiting), list(_places(page, expected, key)), list(_standing(page, most, taken)))


def _places(page: Page, expected: Callable[[Sequence[str], int], float], key: str | None) -> Iterator[Place]:
    """Where those that are shown stand, as they would be taken if nothing else came."""
    ordered = sorted(page.waiting, key=lambda one: (one.batch, one.start, one.number))
    for names in {frozenset(one.names) for one in ordered if key in (None, one.key)}:
        before = [one for one in ordered if not names.isdisjoint(one.names)]
        for ahead, one in enumerate(before):
            if key in (None, one.key) and names == frozenset(one.names):
                yield Place(one.batch, ahead, one.waited, expected(one.names, ahead), one.key)


def _standing(page: Page, most: Mapping[str, int | None], taken: Callable[[str], int]) -> Iterator[Standing]:
    """How each backend's slots are: those of this process, and those of others that have something to do."""
    waiting = Counter(name for one in page.waiting for name in one.names)
    for name in dict.fromkeys((*most, *page.taken, *waiting)):
        if name in most and most[name] is None:
            yield Standing(name, taken(name), None, waiting[name])
        else:
            yield Standing(name, page.taken.get(name, 0), most.get(name, page.most.get(name)), waiting[name])

"""Who takes part beside this build: the build before, this one on asyncio's own loop, and other people's proxies."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import nginx, smg
from bench.builds import Build
from bench.families import FAMILIES, Family
from bench.metrics import ON_ASYNCIO, SMG
from bench.processes import free_port, running
from bench.targets import KEY, service_address, service_settings
from bench.wire import HOST, Address

DIRECT, BEFORE, NOW, BARE, NGINX = "direct", "before", "now", "bare", "nginx"
NAMES = (DIRECT, BEFORE, NOW, ON_ASYNCIO, BARE, NGINX, SMG)
LOOP = "EVENT_LOOP"


@dataclass(frozen=True)
class Builds:
    """The two builds of a run; `absent` says of each other proxy that cannot take part why."""

    before: Build
    now: Build
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def others(self) -> list[str]:
        """Who else can take part."""
        return [name for name in (ON_ASYNCIO, BARE, NGINX, SMG) if name not in self.absent]


def builds(before: Build, now: Build) -> Builds:
    """Look who else is here."""
    absent = {}
    if not now.knows(LOOP):
        absent[ON_ASYNCIO] = f"this build has no setting {LOOP}"
    if nginx.find() is None:
        absent[NGINX] = "nginx is not installed"
    if smg.find() is None:
        absent[SMG] = "SMG is not installed; `make test-servers ARGS='-k smg'` installs it"
    return Builds(before, now, absent)


@contextmanager
def started(of: Builds, family: Family, names: Sequence[str], folder: Path) -> Iterator[dict[str, Address]]:
    """Run the upstream and these, each in a folder of its own, and so with a database of its own."""
    with ExitStack() as stack:
        direct = stack.enter_context(upstream(family, folder))
        found = {DIRECT: direct}
        for name in names:
            found[name] = stack.enter_context(_started(of, name, family, direct.port, folder))
        yield found


@contextmanager
def upstream(family: Family, folder: Path) -> Iterator[Address]:
    """Run the upstream, to be asked as the service asks it for this family."""
    asked, port = FAMILIES[family.behind or family.name], free_port()
    address = Address(DIRECT, port, asked.path, asked.path, upstream=port, family_name=asked.name)
    with running(address, [sys.executable, "-m", "bench.upstream", "--port", str(port)], folder, {}) as ready:
        yield ready


@contextmanager
def _started(of: Builds, name: str, family: Family, port: int, folder: Path) -> Iterator[Address]:
    if name in (BEFORE, NOW, ON_ASYNCIO):
        build = of.before if name == BEFORE else of.now
        more = {LOOP: "asyncio"} if name == ON_ASYNCIO else {}
        with serving(build, name, family, port, folder, more) as found:
            yield found
        return
    own = _own_folder(folder, name)
    address, command = {BARE: _bare, NGINX: _nginx, SMG: _smg}[name](family, free_port(), port, own)
    with running(address, command, own, {}) as ready:
        yield replace(ready, upstream=port)


@contextmanager
def serving(
    build: Build, name: str, family: Family, port: int, folder: Path, more: Mapping[str, str]
) -> Iterator[Address]:
    """Run a build before the upstream at a port, with `more` settings, under a name."""
    own, place = _own_folder(folder, name), free_port()
    settings = service_settings(family, place, port) | build.path | dict(more)
    with running(service_address(name, family, place), build.command, own, settings) as ready:
        yield replace(ready, upstream=port)


def _own_folder(folder: Path, name: str) -> Path:
    own = folder / name
    own.mkdir()
    return own


Start = tuple[Address, list[str]]


def _bare(family: Family, port: int, behind: int, folder: Path) -> Start:
    address = Address(BARE, port, family.bare_stream, family.path, family_name=family.name)
    where = ["--port", str(port), "--upstream", f"http://{HOST}:{behind}"]
    return address, [sys.executable, "-m", "bench.bare_relay", *where]


def _nginx(family: Family, port: int, behind: int, folder: Path) -> Start:
    program = nginx.find()
    assert program is not None
    address = Address(NGINX, port, family.path, family.path, family_name=family.name)
    return address, nginx.command(program, folder, port, behind)


def _smg(family: Family, port: int, behind: int, folder: Path) -> Start:
    program = smg.find()
    assert program is not None
    address = Address(SMG, port, family.path, family.path, KEY, family_name=family.name)
    address = replace(address, key_header="Authorization: Bearer ")
    return address, smg.command(program, folder, port, behind, KEY)

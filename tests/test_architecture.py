"""The rules of the code base: who may import what, and who may read the environment."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "mlops_backend"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Each layer may import itself and those behind it.
LAYERS = (
    ("__main__", "server", "workers", "banner", "memory", "connections"),
    ("app", "cli", "lifespan"),
    ("blueprints", "middleware"),
    ("openapi",),
    ("services",),
    ("schemas", "telemetry", "migrations"),
    ("json_values",),
    ("errors", "config", "__init__"),
    ("setting_parts",),
    (
        "setting_values",
        "setting_stores",
        "setting_addresses",
        "setting_files",
        "setting_servers",
        "setting_backends",
        "setting_backend_fields",
        "setting_lines",
        "setting_models",
        "setting_traces",
        "setting_console",
        "setting_streams",
        "setting_cache",
        "setting_stored",
    ),
    (
        "principal",
        "shared",
        "shares",
        "folding",
        "end_users",
        "days",
        "begun",
        "event_loop",
        "in_turns",
        "address",
        "postponed",
        "aside",
        "redis_clients",
        "redis_link",
        "redis_sentinels",
        "sentinel_address",
        "redis_bus",
    ),
)
# The houses of `services`, from the top; each may import from those on lower floors, through their faces.
FLOORS = (
    (
        *("services.llm.wiring", "services.other.conversations", "services.other.responses"),
        *("services.other.console", "services.other.live"),
    ),
    ("services.llm.startup", "services.llm.ollama_service"),
    ("services.llm.generation", "services.llm.embedded"),
    ("services.other.keys", "services.other.usage", "services.llm.backends", "services.llm.leases"),
    ("services.other.limits", "services.llm.asked", "services.llm.dialects.native"),
    ("services.other.database", "services.llm.dialects.openai", "services.llm.routing"),
    ("services.llm.aliases", "services.llm.pins", "services.other.journals", "services.other.response_cache"),
    ("services.llm.model_names", "services.llm.upstream", "services.llm.dialects"),
)
ROOMS = tuple(room for floor in FLOORS for room in floor)
HOUSES = tuple(room for room in ROOMS if (PACKAGE / room.replace(".", "/")).is_dir())
WEB = {"quart", "quart_cors", "quart_schema", "werkzeug", "hypercorn"}
HTTP_CLIENTS = {"httpx", "httpx_aiohttp", "aiohttp", "requests", "urllib3"}


def name_of(path: Path) -> str:
    """`services.llm.generation.relay` for `mlops_backend/services/llm/generation/relay.py`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def for_each(modules: Sequence[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """A rule of one module as a test of them all, which names each that breaks it: two thousand tests cost minutes."""

    def rule(check: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            broken = {}
            for path in modules:
                try:
                    check(path)
                except AssertionError as error:
                    broken[name_of(path)] = str(error)
            assert modules
            assert not broken

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return rule


@cache
def tree_of(path: Path) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(path.read_text())


def imports_of(path: Path) -> Iterator[str]:
    """Every module that is imported, anywhere in the file."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "mlops_backend")


def layer_of(name: str) -> int:
    """How far in a module is."""
    top = name.partition(".")[0]
    return next(index for index, layer in enumerate(LAYERS) if top in layer)


def room_of(name: str) -> str | None:
    """The room of `FLOORS` that a module of `services` stands in: the one with the longest name."""
    inside = [room for room in ROOMS if name == room or name.startswith(f"{room}.")]
    return max(inside, key=len, default=None)


def house_of(name: str) -> str | None:
    """The folder with a face that a module stands in."""
    room = room_of(name)
    return room if room in HOUSES else None


def floor_of(name: str) -> int | None:
    """How far down a module of `services` is."""
    room = room_of(name)
    return next((index for index, floor in enumerate(FLOORS) if room in floor), None)


def face_of(house: str) -> set[str]:
    """What a house hands on."""
    tree = tree_of(PACKAGE / house.replace(".", "/") / "__init__.py")
    lists = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    return {str(name) for values in lists for name in ast.literal_eval(values)}


def own_imports_of(path: Path) -> Iterator[str]:
    """Imports of our own modules, without the package's name."""
    for name in imports_of(path):
        if name.startswith("mlops_backend."):
            inner = name.removeprefix("mlops_backend.")
            if inner not in {"__version__"}:
                yield inner


@for_each(MODULES)
def test_imports_go_one_way(path: Path) -> None:
    """No module imports from a layer outside its own."""
    if name_of(path) == "__init__":
        return
    for imported in own_imports_of(path):
        assert layer_of(imported) >= layer_of(name_of(path)), f"{name_of(path)} imports {imported}"


@for_each(MODULES)
def test_blueprints_do_not_know_each_other(path: Path) -> None:
    """No blueprint imports another, and no middleware a blueprint; the package alone lists them."""
    own = name_of(path)
    if own.startswith(("blueprints.", "middleware.")) and own != "blueprints.__init__":
        for imported in own_imports_of(path):
            assert not imported.startswith("blueprints."), f"{own} imports {imported}"


@for_each(MODULES)
def test_inference_does_not_know_other_services(path: Path) -> None:
    """`services/llm` never imports `services/other`."""
    if name_of(path).startswith("services.llm"):
        assert not [name for name in own_imports_of(path) if name.startswith("services.other")]


@for_each(MODULES)
def test_libraries_stay_in_their_place(path: Path) -> None:
    """The web framework stays at the edge, the HTTP client in `upstream`."""
    own = name_of(path)
    roots = {name.partition(".")[0] for name in imports_of(path)}
    edge = layer_of(own) <= layer_of("openapi") if own != "__init__" else False
    if not edge:
        assert not roots & WEB, f"{own} imports {roots & WEB}"
    if own not in {
        f"services.llm.upstream.{name}" for name in ("answers", "client", "errors", "overhead", "tap", "transport")
    }:
        assert not roots & HTTP_CLIENTS, f"{own} imports {roots & HTTP_CLIENTS}"


@for_each(MODULES)
def test_only_config_reads_the_environment(path: Path) -> None:
    """`os.environ`, `os.getenv` and `.env` are for `config.py` alone."""
    if name_of(path) == "config":
        return
    names = {node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
    names |= {name.rpartition(".")[2] for name in imports_of(path)}
    assert not names & {"environ", "environb", "getenv", "dotenv", "pydantic_settings"}


@for_each(MODULES)
def test_only_wiring_builds_services(path: Path) -> None:
    """Outside `app.py`, a process's `__main__.py` and each house's `wiring.py` no module constructs a service."""
    built = {
        "OllamaService",
        "BackendPool",
        "BackendBuilder",
        "BackendDesk",
        "NamedBackends",
        "Admission",
        "MemoryJournals",
        "Upstream",
        "InfoService",
        "SettingsKeyStore",
        "KeyStores",
        "Database",
        "KeyCache",
        "ApiKeys",
        "Ledger",
        "Usage",
        "Retention",
        "Conversations",
        "Turns",
        "Replies",
        "KeptReplies",
        "StoredResponses",
        "KeptResponses",
        "PriceList",
    }
    own = name_of(path)
    if own == "app" or own.endswith((".wiring", ".__main__")):
        return
    calls = {
        node.func.id
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & built


@for_each(MODULES)
def test_nobody_imports_past_a_face(path: Path) -> None:
    """Who is not of a house imports from its `__init__.py` alone, and only what that hands on."""
    own = house_of(name_of(path))
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            assert not any(house_of(alias.name.removeprefix("mlops_backend.")) for alias in node.names)
        if not isinstance(node, ast.ImportFrom):
            continue
        imported = (node.module or "").removeprefix("mlops_backend.")
        if (house := house_of(imported)) and house != own:
            assert imported == house, f"{name_of(path)} imports {imported}, past the face of {house}"
            assert {alias.name for alias in node.names} <= face_of(house), f"{house} does not hand that on"


@for_each([path for path in MODULES if "services" in path.parts])
def test_houses_stand_on_floors(path: Path) -> None:
    """A house imports from houses on lower floors alone, never from its own floor and never upwards."""
    own = name_of(path).removesuffix(".__init__")
    if (floor := floor_of(own)) is None:
        return
    for imported in own_imports_of(path):
        below = floor_of(imported)
        if below is None or room_of(imported) == room_of(own):
            continue
        assert below > floor, f"{own} imports {imported}"


def test_every_folder_of_services_is_a_house() -> None:
    """A new folder is on a floor, and has a face."""
    folders = {name_of(path).removesuffix(".__init__") for path in MODULES if path.name == "__init__.py"}
    inside = {name for name in folders if name.startswith("services.")} - {"services.llm", "services.other"}
    assert inside == set(HOUSES)


@for_each(MODULES)
def test_nothing_is_opened_at_import(path: Path) -> None:
    """Importing a module opens no file, socket, client or loop, and builds no application."""
    resources = {"open", "socket", "AsyncClient", "ClientSession", "Event", "Semaphore", "Lock", "Quart", "create_app"}
    top_level = [node for node in tree_of(path).body if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr)]
    calls = [call for node in top_level for call in ast.walk(node) if isinstance(call, ast.Call)]
    names = {call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "") for call in calls}
    assert not names & resources


def test_modules_are_small() -> None:
    """A module that grows past 300 lines is split."""
    large = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: size for name, size in large.items() if size > 300} == {}

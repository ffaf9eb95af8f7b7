"""The rules of the code base: who may import what, and who may read the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mlops_backend"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Each layer may import itself and those behind it.
LAYERS = (
    ("__main__", "server", "banner", "connections"),
    ("app", "cli"),
    ("blueprints", "middleware"),
    ("openapi",),
    ("services",),
    ("schemas", "telemetry", "migrations"),
    ("errors", "config", "__init__"),
    ("setting_values",),
    ("principal",),
)
WEB = {"quart", "quart_cors", "quart_schema", "werkzeug", "hypercorn"}
HTTP_CLIENTS = {"httpx", "httpx_aiohttp", "aiohttp", "requests", "urllib3"}


def name_of(path: Path) -> str:
    """`services.llm.relay` for `mlops_backend/services/llm/relay.py`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


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


def own_imports_of(path: Path) -> Iterator[str]:
    """Imports of our own modules, without the package's name."""
    for name in imports_of(path):
        if name.startswith("mlops_backend."):
            inner = name.removeprefix("mlops_backend.")
            if inner not in {"__version__"}:
                yield inner


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    """No module imports from a layer outside its own."""
    if name_of(path) == "__init__":
        return
    for imported in own_imports_of(path):
        assert layer_of(imported) >= layer_of(name_of(path)), f"{name_of(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_blueprints_do_not_know_each_other(path: Path) -> None:
    """No blueprint imports another, and no middleware a blueprint."""
    own = name_of(path)
    if own.startswith(("blueprints.", "middleware.")):
        for imported in own_imports_of(path):
            assert not imported.startswith("blueprints."), f"{own} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_inference_does_not_know_other_services(path: Path) -> None:
    """`services/llm` never imports `services/other`."""
    if name_of(path).startswith("services.llm"):
        assert not [name for name in own_imports_of(path) if name.startswith("services.other")]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_libraries_stay_in_their_place(path: Path) -> None:
    """The web framework stays at the edge, the HTTP client in `upstream.py` and what tells its errors."""
    own = name_of(path)
    roots = {name.partition(".")[0] for name in imports_of(path)}
    edge = layer_of(own) <= layer_of("openapi") if own != "__init__" else False
    if not edge:
        assert not roots & WEB, f"{own} imports {roots & WEB}"
    if own not in {"services.llm.upstream", "services.llm.upstream_errors"}:
        assert not roots & HTTP_CLIENTS, f"{own} imports {roots & HTTP_CLIENTS}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_config_reads_the_environment(path: Path) -> None:
    """`os.environ`, `os.getenv` and `.env` are for `config.py` alone."""
    if name_of(path) == "config":
        return
    names = {node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
    names |= {name.rpartition(".")[2] for name in imports_of(path)}
    assert not names & {"environ", "environb", "getenv", "dotenv", "pydantic_settings"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_root_builds_services(path: Path) -> None:
    """Outside `app.py` no module constructs a service; its own module may name it."""
    built = {
        "OllamaService",
        "BackendPool",
        "Admission",
        "StreamTickets",
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
        "PriceList",
    }
    if name_of(path) == "app":
        return
    calls = {
        node.func.id
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & built


@pytest.mark.parametrize("path", MODULES, ids=name_of)
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

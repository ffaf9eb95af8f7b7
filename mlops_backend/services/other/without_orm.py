"""SQLAlchemy without its ORM, which nobody here uses: 7 MB and forty modules that no process needs to hold.

The asynchronous engine needs none of it, but the package that it stands in brings the ORM's sessions too, and Python
runs a package before what is in it. So the package is put in its place and not run: what is used here comes from its
modules, and whoever asks for anything else has it run then, with the ORM and all.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from importlib.abc import Loader
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, Final

_PACKAGE: Final = "sqlalchemy.ext.asyncio"
_USED: Final[Mapping[str, str]] = {
    "AsyncConnection": f"{_PACKAGE}.engine",
    "AsyncEngine": f"{_PACKAGE}.engine",
    "create_async_engine": f"{_PACKAGE}.engine",
}


def leave_out_orm() -> None:
    """Called before anything imports the package; where it is there already, it stays as it is."""
    if _PACKAGE in sys.modules:
        return
    spec = find_spec(_PACKAGE)
    if spec is None or spec.loader is None:
        return
    package = sys.modules[_PACKAGE] = module_from_spec(spec)
    package.__getattr__ = partial(_asked, package, spec.loader)  # type: ignore[method-assign]
    above, _, name = _PACKAGE.rpartition(".")
    setattr(sys.modules[above], name, package)


def _asked(package: ModuleType, loader: Loader, name: str) -> Any:
    """What the package does not have yet."""
    if name in _USED:
        return getattr(import_module(_USED[name]), name)
    if name.startswith("__") or find_spec(f"{_PACKAGE}.{name}") is not None:
        raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
    del package.__getattr__
    loader.exec_module(package)
    return getattr(package, name)

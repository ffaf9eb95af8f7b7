"""The library that stands in for a plug-in is one that the system's linker takes."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path

import pytest

from tests.e2e.stub_library import stub_library


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="it is for Linux on x86-64")
def test_its_functions_return_zero(tmp_path: Path) -> None:
    """Every function is found by its name and returns zero; another name is not there."""
    path = tmp_path / "libstub.so"
    path.write_bytes(stub_library("libstub.so", ["first", "second", "third"]))
    library = ctypes.CDLL(str(path))
    assert [getattr(library, name)(7) for name in ("first", "second", "third")] == [0, 0, 0]
    with pytest.raises(AttributeError):
        _ = library.fourth

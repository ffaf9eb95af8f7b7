"""`python -m chaos`, shortly: it ends by itself, with a real backend beside the fakes where there can be one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from chaos import real
from chaos.real import NONE, real_backend
from tests.e2e.real_ollama import MODEL, engine_is_installed
from tests.e2e.server_process import running

FEW = ("--requests", "40", "--clients", "4", "--workers", "1", "--faults", "file", "--every", "0.3")
RULES = 9


@pytest.mark.long
async def test_every_rule_holds_of_a_real_backend_too(tmp_path: Path) -> None:
    """The first request is for it, and what is whole is so by its own ledger; or the table says why there is none."""
    async with running(tmp_path, [sys.executable, "-m", "chaos", *FEW], {}) as chaos:
        assert await chaos.ended() == 0, chaos.report()
    # a busy machine may not have its first words in time
    became = f"of a real {re.escape(MODEL)}: (whole|error) 1" if engine_is_installed() else re.escape(NONE)
    assert re.search(f"^{became}$", chaos.output, re.MULTILINE), chaos.report()
    assert len(re.findall("^ok ", chaos.output, re.MULTILINE)) == RULES


async def test_where_its_packages_are_missing_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the table says so."""
    monkeypatch.setattr(real, "engine_is_installed", lambda: False)
    async with real_backend(tmp_path / "real") as nobody:
        assert nobody is None

"""Commands run in a directory without a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.commands import bare, service, shell, silent_service

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["bare", "service", "shell", "silent_service"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIGNALBOX_CLUSTER", raising=False)
    return tmp_path

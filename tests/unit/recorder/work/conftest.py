"""A recorder that does not wait between attempts."""

from __future__ import annotations

import pytest
from signalbox.recorder import failures, outages, work


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again soon."""
    monkeypatch.setattr(failures, "FACTS_AFTER_S", 0.05)
    monkeypatch.setattr(failures, "OVERTAKEN_AFTER_S", 0.05)
    monkeypatch.setattr(failures, "pause_s", lambda *_: 0.05)
    monkeypatch.setattr(outages, "pause_s", lambda *_: 0.05)
    monkeypatch.setattr(work, "pause_s", lambda *_: 0.05)

"""Rules with a flow that has a node of each kind."""

from __future__ import annotations

import pytest
from signalbox.domain.flow import (
    Flow,
    FlowGraph,
    FlowRevision,
)
from signalbox.domain.objects import Line, MediaMode, Number, Trunk
from signalbox.domain.rules import Rules
from support.continuing import NODES


@pytest.fixture
def rules() -> Rules:
    rules = Rules()
    rules.put(Trunk("carrier"))
    rules.put(Line("acme", "a", "1", "192.0.2.1"))
    rules.put(Line("acme", "b", "2", "192.0.2.2", concurrent_calls=1))
    rules.put(Flow("acme", "main", (FlowRevision(3, 0.0, FlowGraph("north", NODES)),)))
    rules.put(Number("4001234567", "acme", (), flow="main", media=MediaMode.BYPASS, max_duration_s=60))
    return rules

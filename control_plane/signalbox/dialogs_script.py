"""The script that owns what redis knows of the dialogs of answered calls.

Edges keep them and end calls with it; routing tells it of calls whose media are dead.
"""

from __future__ import annotations

from signalbox.redis_client import Script

Operation = list[object]
"""Name and arguments of one of the script's operations."""

SCRIPT = Script(__package__, "dialogs.lua")
"""Arguments: prefix of all keys; JSON list of operations. Returns one value per claim."""

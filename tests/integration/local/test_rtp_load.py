"""Sound between two ends with nothing between them: what is sent comes, and what goes elsewhere is missed."""

from __future__ import annotations

import socket

from signalbox_local.rtp_load import CALLER, LINE, Parties

CALLS = 25


def test_what_comes_is_seen_and_what_nobody_passes_on_is_lost() -> None:
    parties = Parties()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        try:
            targets = [[parties.address(call, 1 - side) for call in range(CALLS)] for side in (CALLER, LINE)]
            targets[LINE][3] = nobody.getsockname()
            lot = parties.play(targets, 0.3)
        finally:
            parties.close()
    assert (lot.calls, lot.packets, lot.lost) == (CALLS, 15, 15)
    assert lot.arrived[CALLER].all()
    assert not lot.arrived[LINE][3].any()
    assert lot.arrived[LINE].sum() == (CALLS - 1) * 15
    assert not lot.clean

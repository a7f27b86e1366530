"""A SIPp call with sound through a real rtpengine: what each side hears is what the other said."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox_local.audio import AudioCall, Party, audio_call
from support.ports import free_port
from support.rtpengine import Rtpengine, SipRelay, ng_client, rtpengine

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.ng import NgClient

__all__ = ["ng_client", "rtpengine"]


@pytest.mark.parametrize("hang_up", ["caller", "line"])
async def test_each_side_hears_what_the_other_says(
    rtpengine: Rtpengine, ng_client: NgClient, tmp_path: Path, hang_up: Party
) -> None:
    line = ("127.0.0.1", free_port())
    async with SipRelay.open(ng_client, line) as relay:
        call = AudioCall(relay.address, "4001234567", f"{line[0]}:{line[1]}", tmp_path / "call", hang_up=hang_up)
        report = await audio_call(call)
    assert report.problems == ()
    assert report.by_line.heard == call.caller_digits
    assert report.by_caller.heard == call.line_digits
    assert call.caller_digits != call.line_digits
    assert report.hung_up_by == hang_up
    for heard in (report.by_line, report.by_caller):
        assert heard.source.startswith(f"{rtpengine.interface}:")
        assert heard.packets == heard.packets_sent
        assert heard.lost == 0


async def test_sound_that_is_cut_is_told(ng_client: NgClient, tmp_path: Path) -> None:
    line = ("127.0.0.1", free_port())
    async with SipRelay.open(ng_client, line) as relay:
        calling = asyncio.create_task(
            audio_call(AudioCall(relay.address, "4001234567", f"{line[0]}:{line[1]}", tmp_path / "call"))
        )
        await ng_client.request("block media", {"call-id": await relay.answered})
        report = await calling
    assert not report.by_line.matches
    assert [problem.split(" instead")[0] for problem in report.problems] == [
        f"line heard {report.by_line.heard or 'nothing'}",
        f"caller heard {report.by_caller.heard or 'nothing'}",
    ]

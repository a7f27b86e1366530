"""Reliable provisional replies pass through (RFC 3262): the proxy neither asks for them nor answers them itself."""

from __future__ import annotations

from pathlib import Path

from support.scenario import Part, play
from support.wire import stream

HERE = Path(__file__).parent
WANTS_PRACK = Part(HERE / "uac_prack.xml")
RINGS_RELIABLY = Part(HERE / "uas_prack.xml")


async def test_prack_goes_from_end_to_end(site, tmp_path):
    call = await play(site, tmp_path, WANTS_PRACK, [RINGS_RELIABLY], anchored=True)
    line = call.lines[0]
    assert call.caller.ladder == [
        "→INVITE", "←100", "←183", "→PRACK", "←200", "←200", "→ACK", "→BYE", "←200"
    ]  # fmt: skip
    assert line.message("←INVITE").header("Require") == "100rel"
    reliable = call.caller.message("←183")
    assert (reliable.header("Require"), reliable.header("RSeq")) == ("100rel", "9021")
    assert line.message("←PRACK").header("RAck") == "9021 1 INVITE"
    assert stream(reliable.text).address.startswith("127.64.")

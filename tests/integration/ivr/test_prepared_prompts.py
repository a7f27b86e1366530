"""What was prepared of an uploaded file is what a caller hears, code by code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.audio.preparation import prepare
from signalbox.g711 import A_LAW, MU_LAW, Law
from signalbox.ivr.media.playback import End
from signalbox_local.rtp_party import FRAME, RtpParty
from support.sounds import codes, file, speechlike
from support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from support.ivr_media import Desk

WAIT_S = 20.0


@pytest.mark.parametrize(("law", "payload_type"), [(A_LAW, 8), (MU_LAW, 0)])
async def test_a_caller_hears_a_prepared_prompt(desk: Desk, tmp_path: Path, law: Law, payload_type: int) -> None:
    prepared = prepare(file("mp3", speechlike(1, 3, 0.2)))
    wav = prepared.alaw if law is A_LAW else prepared.ulaw
    path = tmp_path / f"prompt.{law.ending}"
    path.write_bytes(wav)
    said = codes(wav, law)
    whole = len(said) // FRAME * FRAME
    async with RtpParty.open(law, payload_type) as caller:
        session = await desk.anchor(caller)
        playback = await session.play(str(path))
        assert playback.seconds == pytest.approx(prepared.duration_ms / 1_000, abs=0.02)
        assert await playback.done() is End.FINISHED
        await until(lambda: len(caller.heard()) >= whole, WAIT_S)
        assert law.decode(caller.heard())[:whole].tolist() == said[:whole].tolist()
        await session.close()

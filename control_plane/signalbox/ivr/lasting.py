"""What one step leaves for the next: music that goes on, and a line that talks on for an attended transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse
    from signalbox.ivr.call import VoiceCall


async def settle(call: VoiceCall, step: ContinueResponse) -> None:
    """Before each step: end what it does not go on with.

    A queue's music goes on in the queue, and while the lines ring that it waits for. A line that has the call stays for
    an attended transfer alone. Raises MediaLostError.
    """
    music = call.music
    if music is not None and step.node_id not in (music.node, music.dial):
        call.music = None
        if music.playback is not None:
            await music.playback.stop()
    if call.talking is not None and not step.transfer_node.attended:
        talking, call.talking = call.talking, None
        await talking.let_go()

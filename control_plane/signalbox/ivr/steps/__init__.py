"""The nodes of call flows, a module each.

Each has a coroutine ``run(call, step)`` that does what the node says and tells how it ended::

    async def run(call: VoiceCall, step: ContinueResponse) -> StepOutcome

It is cancelled when the caller is gone, the media are lost or the worker ends, and frees what it has made then as it
does at its end, but for ``call.talking`` and ``call.music``, which may go on. What it raises ends the call.
"""

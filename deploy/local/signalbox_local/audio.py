"""Proof of sound: in a call both sides speak digits as tones; what each hears is compared with what the other said.

SIPp makes the call and sends the A-law audio; what arrives at its media ports is captured from the network. Only
addresses go in, so it works on any cluster that the machine can reach.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from signalbox.address import split

from signalbox_local import g711, rtp, tones
from signalbox_local.sipp import SCENARIOS, Sipp, SippOptions, SippResult
from signalbox_local.sipp_logs import TracedMessage, read_messages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from signalbox_local.capture import Endpoint

Party = Literal["caller", "line"]

DIGITS = 14
"""Digits that each side speaks: 3.2 s of audio."""
STAY_MS = 1500
"""How much longer the side that does not hang up would stay, milliseconds."""
CALL_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class AudioCall:
    """The call to make. Addresses are ``host:port``."""

    proxy: str
    number: str
    line: str
    """Address of the line that answers: the rule must send the call there."""
    workdir: Path
    busy_line: str = ""
    """Address of a line that is busy and is tried first; empty: there is none."""
    caller: str = "13800001234"
    """Calling number."""
    caller_host: str = "127.0.0.1"
    """Source address of the caller: one of the trunk's."""
    hang_up: Party = "caller"
    """Who ends the call."""
    caller_digits: str = field(default_factory=lambda: random_digits(DIGITS))
    line_digits: str = field(default_factory=lambda: random_digits(DIGITS))


@dataclass(frozen=True, slots=True)
class Heard:
    """What one side heard of the other."""

    said: str
    """Digits that the other side spoke."""
    heard: str
    """Digits that were found in what arrived."""
    tones: tuple[tones.Tone, ...]
    """The same with their places."""
    packets_sent: int
    """RTP packets that left the other side, as far as this machine saw them arrive somewhere."""
    packets: int
    """RTP packets that arrived."""
    lost: int
    """Packets missing between the first and the last."""
    source: str
    """Address that they came from, host:port: the media node's, if the call is anchored. Empty if none came."""

    @property
    def matches(self) -> bool:
        """True if every digit was heard, and no other."""
        return self.heard == self.said


@dataclass(frozen=True, slots=True)
class AudioReport:
    """What happened. ``problems`` is empty if all was as it should be."""

    by_line: Heard
    """What the line heard of the caller."""
    by_caller: Heard
    """What the caller heard of the line."""
    hung_up_by: Party | None
    """Who sent BYE; None if nobody did, or both."""
    caller_result: SippResult
    line_result: SippResult
    busy_result: SippResult | None
    problems: tuple[str, ...]


def random_digits(count: int) -> str:
    """Digits that nobody can know beforehand; neighbours differ, so that each begins with a change of tone."""
    digits = secrets.choice(tones.DIGITS[:10])
    while len(digits) < count:
        digits += secrets.choice(tones.DIGITS[:10].replace(digits[-1], ""))
    return digits


async def audio_call(call: AudioCall) -> AudioReport:
    """Make the call and listen. Takes about 5 s.

    What goes wrong with the call is in the report; raises only SippError and CaptureError, if it could not be tried.
    """
    call.workdir.mkdir(parents=True, exist_ok=True)
    length_ms = 0
    for party, digits in (("caller", call.caller_digits), ("line", call.line_digits)):
        audio = g711.encode(tones.render(digits))
        (call.workdir / f"{party}.alaw").write_bytes(audio)
        length_ms = max(length_ms, len(audio) * 1000 // tones.RATE_HZ)
    async with contextlib.AsyncExitStack() as stack:
        busy = (
            await _answer(stack, call, "busy", call.busy_line, SCENARIOS / "uas_busy.xml", 0)
            if call.busy_line
            else None
        )
        stay_ms = {party: length_ms + 300 + (0 if call.hang_up == party else STAY_MS) for party in ("caller", "line")}
        line = await _answer(stack, call, "line", call.line, SCENARIOS / "uas_audio.xml", stay_ms["line"])
        capture = stack.enter_context(rtp.capture())
        caller = await stack.enter_async_context(await Sipp.start(_caller_options(call, stay_ms["caller"])))
        caller_result = await caller.wait()
        line_result = await line.stop()
        busy_result = await busy.stop() if busy else None
    messages: dict[Party, list[TracedMessage]] = {
        "caller": read_messages(caller.messages_file),
        "line": read_messages(line.messages_file),
    }
    return _report(call, messages, capture.packets, caller_result, line_result, busy_result)


async def _answer(
    stack: contextlib.AsyncExitStack, call: AudioCall, name: str, address: str, scenario: Path, stay_ms: int
) -> Sipp:
    host, port = split(address)
    options = SippOptions(
        scenario, call.workdir, name, host=host, port=port, timeout_s=0, stay_ms=stay_ms, trace_messages=True
    )
    return await stack.enter_async_context(await Sipp.start(options))


def _caller_options(call: AudioCall, stay_ms: int) -> SippOptions:
    return SippOptions(
        SCENARIOS / "uac_audio.xml",
        call.workdir,
        "caller",
        host=call.caller_host,
        target=call.proxy,
        service=call.number,
        calls=1,
        timeout_s=CALL_TIMEOUT_S,
        stay_ms=stay_ms,
        keys={"caller": call.caller},
        trace_messages=True,
    )


def _report(
    call: AudioCall,
    messages: Mapping[Party, list[TracedMessage]],
    packets: list[rtp.Packet],
    caller_result: SippResult,
    line_result: SippResult,
    busy_result: SippResult | None,
) -> AudioReport:
    endpoints = {party: media_endpoint(log) for party, log in messages.items()}
    streams = rtp.streams(packets, g711.SILENCE)
    by_line = _heard(call.caller_digits, streams, endpoints["line"], endpoints["caller"])
    by_caller = _heard(call.line_digits, streams, endpoints["caller"], endpoints["line"])
    byes = [party for party, log in messages.items() if any(m.sent and m.start_line.startswith("BYE ") for m in log)]
    hung_up_by = byes[0] if len(byes) == 1 else None
    problems = [
        *_call_problems("caller", caller_result),
        *_call_problems("line", line_result),
        *(_call_problems("busy line", busy_result) if busy_result else ()),
        *_sound_problems("line", by_line),
        *_sound_problems("caller", by_caller),
    ]
    if hung_up_by != call.hang_up:
        problems.append(f"hung up by {' and '.join(byes) or 'nobody'} instead of the {call.hang_up}")
    return AudioReport(by_line, by_caller, hung_up_by, caller_result, line_result, busy_result, tuple(problems))


def media_endpoint(log: list[TracedMessage]) -> Endpoint | None:
    """Where a side takes RTP, from the first SDP (RFC 8866) that it sent; None if it sent none."""
    for message in log:
        address = re.search(r"^c=IN IP4 (\S+)$", message.text, re.MULTILINE)
        port = re.search(r"^m=audio (\d+) ", message.text, re.MULTILINE)
        if message.sent and address and port:
            return address[1], int(port[1])
    return None


def _heard(said: str, streams: list[rtp.Stream], listener: Endpoint | None, speaker: Endpoint | None) -> Heard:
    arrived = [stream for stream in streams if stream.destination == listener]
    found = [tone for stream in arrived for tone in tones.detect(g711.decode(stream.audio))]
    return Heard(
        said=said,
        heard=tones.text(found),
        tones=tuple(found),
        packets_sent=sum(stream.packets for stream in streams if stream.source == speaker),
        packets=sum(stream.packets for stream in arrived),
        lost=sum(stream.lost for stream in arrived),
        source=" ".join(f"{host}:{port}" for host, port in sorted({stream.source for stream in arrived})),
    )


def _call_problems(who: str, result: SippResult) -> list[str]:
    statistics = result.statistics
    if result.exit_code == 0 and statistics.successful == 1 and statistics.calls == 1:
        return []
    return [
        f"{who}: {statistics.successful} of {statistics.calls} calls succeeded, 1 expected {result.errors}".rstrip()
    ]


def _sound_problems(listener: str, heard: Heard) -> list[str]:
    if heard.matches:
        return []
    return [f"{listener} heard {heard.heard or 'nothing'} instead of {heard.said} ({heard.packets} packets)"]

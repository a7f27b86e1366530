"""Calls played by SIPp through the cluster, and what each party saw on the wire.

A party's ladder is the list of its messages, "→" sent and "←" received, a request by its method and a reply by its
code: ``["→INVITE", "←100", "←180", "←200", "→ACK", "→BYE", "←200"]``.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from signalbox_local.sipp import SCENARIOS, Sipp, SippOptions, SippResult
from signalbox_local.sipp_logs import TracedMessage, read_messages

from support.site import CALLER_HOST, LINE_HOST, LineAt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from signalbox.api.events.v1 import events_pb2

    from support.site import Site

CALLER = "13800001234"
LONGEST_CALL_S = 20.0


@dataclass(frozen=True, slots=True)
class Part:
    """What one party plays: a scenario file, or the name of one that is shipped with the local cluster."""

    scenario: Path | str
    transport: Literal["udp", "tcp"] = "udp"
    hold_ms: int = 100
    words: Mapping[str, str] = field(default_factory=dict)
    """What stands in the file for ``[word]``, where SIPp's own keywords can't: it wants status codes to be numbers."""
    remove_identity: bool = False
    """A line outside the trust domain."""

    def file(self, workdir: Path, name: str) -> Path:
        """The scenario to run."""
        scenario = SCENARIOS / self.scenario if isinstance(self.scenario, str) else self.scenario
        if not self.words:
            return scenario
        text = scenario.read_text()
        for word, value in self.words.items():
            text = text.replace(f"[{word}]", value)
        filled = workdir / f"{name}.xml"
        filled.write_text(text)
        return filled


SHARED = Path(__file__).parents[1] / "sip" / "scenarios"
CALLS = Part("uac_load.xml")
"""Calls, is answered, hangs up after a moment."""
IS_REFUSED = Part(SHARED / "uac_refused.xml")
"""Calls, and is refused with any code."""
ANSWERS = Part("uas_load.xml")
"""Rings, answers, waits for BYE."""
RINGS = Part(SHARED / "uas_rings.xml")
"""Rings until it is cancelled."""
SILENT = Part(SHARED / "uas_silent.xml", hold_ms=1500)
"""Takes the INVITE and says nothing."""


def refuses(code: int) -> Part:
    """A line that refuses with a code."""
    return Part(SHARED / "uas_refuses.xml", words={"code": str(code)})


@dataclass(frozen=True, slots=True)
class Party:
    """What one party saw."""

    result: SippResult
    messages: Sequence[TracedMessage]

    @property
    def ladder(self) -> list[str]:
        """Its messages; what was sent again for lack of a reply in time counts once."""
        seen: set[tuple[bool, str]] = set()
        steps = []
        for message in self.messages:
            if (message.sent, message.text) not in seen:
                seen.add((message.sent, message.text))
                steps.append(("→" if message.sent else "←") + _short(message.start_line))
        return steps

    @property
    def codes(self) -> list[str]:
        """The part of the ladder that it received."""
        return [step[1:] for step in self.ladder if step.startswith("←")]

    def message(self, step: str, occurrence: int = 1) -> TracedMessage:
        """A message by its step of the ladder."""
        found = [m for m in self.messages if ("→" if m.sent else "←") + _short(m.start_line) == step]
        assert len(found) >= occurrence, f"no {step}: {self.ladder}"
        return found[occurrence - 1]

    def __str__(self) -> str:
        return f"{self.ladder} {self.result.errors}"


@dataclass(frozen=True, slots=True)
class Played:
    """A call that is over."""

    number: str
    caller: Party
    lines: Sequence[Party]
    """In the order of the stages."""
    events: list[events_pb2.CallEvent]

    def line_id(self, n: int) -> str:
        """Id of the n-th line, from 1."""
        return f"line-{self.number}-{n}"


async def play(
    site: Site,
    workdir: Path,
    caller: Part,
    *stages: Sequence[Part],
    proxy: int = 1,
    ring_s: int = 30,
    anchored: bool = False,
    flow: Callable[..., str] | None = None,
) -> Played:
    """Set a number up that rings these lines, call it once, and tell what everybody saw.

    ``flow``: makes the number, and is told the lines of each stage. Fails if a party sees what its scenario does not
    expect.
    """
    async with contextlib.AsyncExitStack() as stack:
        dialled: list[list[LineAt]] = []
        lines: list[Sipp] = []
        for parts in stages:
            dialled.append([])
            for part in parts:
                options = _options(part, workdir, f"line-{len(lines) + 1}", LINE_HOST)
                line = await stack.enter_async_context(await Sipp.start(options))
                lines.append(line)
                dialled[-1].append(LineAt(line.address, part.transport, part.remove_identity))
        number = flow(*dialled) if flow else site.number(*dialled, ring_s=ring_s, anchored=anchored)
        host, port = site.sip(proxy)
        options = _options(caller, workdir, "caller", CALLER_HOST, target=f"{host}:{port}", service=number)
        calling = await stack.enter_async_context(await Sipp.start(options))
        heard = Party(await calling.wait(), read_messages(calling.messages_file))
        taken = [Party(await line.stop(), read_messages(line.messages_file)) for line in lines]
    assert heard.result.exit_code == 0, f"caller {heard}\nlines: {[str(line) for line in taken]}"
    assert not any(line.result.statistics.unexpected for line in taken), f"lines: {[str(line) for line in taken]}"
    answered = any(m.start_line.startswith("SIP/2.0 200") and m.header("CSeq") == "1 INVITE" for m in heard.messages)
    call_id = heard.messages[0].header("Call-ID")
    events = await site.events_until(call_id, "hung_up" if answered else "failed")
    return Played(number, heard, taken, events)


def _options(
    part: Part, workdir: Path, name: str, host: str, *, target: str = "", service: str = "service"
) -> SippOptions:
    return SippOptions(
        part.file(workdir, name),
        workdir,
        name,
        host=host,
        target=target,
        service=service,
        transport=part.transport,
        calls=1 if target else 0,
        hold_ms=part.hold_ms,
        timeout_s=LONGEST_CALL_S,
        keys={"caller": CALLER},
        trace_messages=True,
    )


def _short(start_line: str) -> str:
    reply = re.match(r"SIP/2.0 (\d{3})", start_line)
    return reply[1] if reply else start_line.partition(" ")[0]

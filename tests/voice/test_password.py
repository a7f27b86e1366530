"""Passwords: asked for, compared where no worker sees them, and told to nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.voice_site import end, node

if TYPE_CHECKING:
    from signalbox.api.types.v1.flows_pb2 import FlowNode
    from support.phone import Phone
    from support.voice_site import VoiceSite

PASSWORD = "73519248"


def staff() -> tuple[FlowNode, ...]:
    """A password that may be tried twice."""
    asked = node(
        "staff", "password", prompt="question", digits=PASSWORD, tries=2, wrongPrompt="wrong-key",
        timeout="2s", ok="goodbye", failed="english",
    )  # fmt: skip
    return asked, end(id="goodbye", prompt="goodbye"), end(id="english", prompt="english")


async def test_the_right_password_leads_on_after_a_wrong_one(site: VoiceSite, caller: Phone) -> None:
    talk = await caller.call(site.flow(*staff()), site.sip())
    await talk.answered()
    await talk.hears(site.prompts["question"])
    await talk.press("1234#")
    await talk.has_heard(site.prompts["wrong-key"])
    await talk.press(PASSWORD + "#")
    await talk.over()
    assert talk.voice.share(site.prompts["goodbye"]) == 1.0
    assert await site.steps(talk.call_id) == ["staff: digits xxxx", "staff: digits xxxxxxxx", "goodbye: done"]
    for name in site.cluster.names("ivr"):
        assert PASSWORD not in site.cluster.log(name).read_text()


async def test_the_last_wrong_password_fails(site: VoiceSite, caller: Phone) -> None:
    talk = await caller.call(site.flow(*staff()), site.sip())
    await talk.answered()
    await talk.hears(site.prompts["question"])
    await talk.press("1234#")
    await talk.has_heard(site.prompts["wrong-key"])
    await talk.press("4321#")
    await talk.over()
    assert talk.voice.share(site.prompts["english"]) == 1.0

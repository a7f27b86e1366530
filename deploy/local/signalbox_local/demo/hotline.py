"""A service number with a voice: what it says, in two languages, and what it does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from signalbox import wav
from signalbox.api.types.v1 import flows_pb2
from signalbox.speech import manifest, spoken
from signalbox.speech.languages import Language

from signalbox_local.cluster import ClusterError
from signalbox_local.demo.steps import TENANT
from signalbox_local.speaking import OBJECTS

if TYPE_CHECKING:
    from signalbox.api.types.v1 import types_pb2

    from signalbox_local.cluster import Cluster
    from signalbox_local.rules import Rules

NUMBER = "4001234569"
FLOW = "hotline"
LINE = "desk"
AGENT = "017"
MAILBOX = "mailbox"
LANGUAGE = Language.CHINESE
"""In which agents are told, of those that numbers can be spoken in."""

TEXTS = {
    "menu": ("zh-CN", "您好，中文服务请按一。For English, please press two."),
    "your-agent": ("zh-CN", "工号"),
    "at-your-service": ("zh-CN", "为您服务。"),
    "score": ("zh-CN", "满意请按五，不满意请按一。"),
    "thanks": ("zh-CN", "谢谢，再见。"),
    "greeting": ("en", "Please leave a message after the tone."),
    "goodbye": ("en", "Thank you, goodbye."),
}
"""Prompts by their ids: language and text."""


def nodes() -> list[flows_pb2.FlowNode]:
    """1: the desk, whose agent is announced and scored; 2: a mailbox."""
    menu = flows_pb2.MenuNode(
        prompt="menu",
        branches=[
            flows_pb2.MenuBranch(digits="1", language="zh-CN", next=LINE),
            flows_pb2.MenuBranch(digits="2", language="en", next=MAILBOX),
        ],
        no_input=MAILBOX,
        no_match=MAILBOX,
    )
    dial = flows_pb2.DialNode(
        lines=[flows_pb2.DialLine(line=LINE)],
        announce_line=flows_pb2.LineAnnouncement(before="your-agent", after="at-your-service"),
        after="survey",
        busy=MAILBOX,
        no_answer=MAILBOX,
        failed=MAILBOX,
    )
    survey = flows_pb2.SurveyNode(prompt="score", next="thanks")
    mailbox = flows_pb2.VoicemailNode(prompt="greeting", finish_keys="#", next="goodbye")
    return [
        flows_pb2.FlowNode(id="menu", menu=menu),
        flows_pb2.FlowNode(id=LINE, dial=dial),
        flows_pb2.FlowNode(id="survey", survey=survey),
        flows_pb2.FlowNode(id="thanks", hang_up=flows_pb2.HangUpNode(prompt="thanks")),
        flows_pb2.FlowNode(id=MAILBOX, voicemail=mailbox),
        flows_pb2.FlowNode(id="goodbye", hang_up=flows_pb2.HangUpNode(prompt="goodbye")),
    ]


def provision(rules: Rules, address: str) -> types_pb2.Number:
    """Create all of it, the line at ``host:port``. Its calls are recorded."""
    rules.line(TENANT, LINE, address, agent_number=AGENT)
    for id, (language, text) in TEXTS.items():
        rules.prompt(TENANT, id, language, text)
    rules.flow(TENANT, FLOW, nodes())
    return rules.number(TENANT, NUMBER, flow=FLOW, recorded=True)


async def speak(rules: Rules) -> dict[str, bytes]:
    """Have all texts spoken: what callers hear of each prompt, codes of A-law."""
    spoken_now = [asyncio.to_thread(rules.speak, TENANT, id) for id in TEXTS]
    return {
        id: wav.parse(content).samples for id, content in zip(TEXTS, await asyncio.gather(*spoken_now), strict=True)
    }


def agent_number(cluster: Cluster) -> list[bytes]:
    """What callers hear of the agent's number, digit by digit: codes of A-law. Raises ClusterError."""
    folder = Path(cluster.directory, OBJECTS, manifest.folder_of(LANGUAGE))
    try:
        parts = manifest.parse((folder / manifest.NAME).read_bytes()).parts
        names = [name for name in spoken.digits(AGENT, LANGUAGE.value) if name not in spoken.PAUSES]
        files = [folder / next(file for file, _ in parts[name].files()) for name in names]
        return [wav.parse(file.read_bytes()).samples for file in files]
    except OSError as error:
        raise ClusterError(f"numbers cannot be spoken: {error}") from error

"""The number with a voice that the demo calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor import FieldDescriptor
from signalbox.speech import spoken
from signalbox_local.cluster import Cluster, ClusterError
from signalbox_local.demo import hotline
from support.voice_site import store_spoken

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.message import Message


def named(message: Message, *names: str) -> set[str]:
    """The values of all fields that end so, at any depth."""
    found = set()
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for one in value if field.is_repeated else [value]:
                found |= named(one, *names)
        elif field.name in names:
            found.add(value)
    return found


def test_every_prompt_of_the_flow_has_a_text_and_every_text_is_played() -> None:
    played = set().union(*(named(node, "prompt", "before", "after") for node in hotline.nodes()))
    # A node that comes after a conversation is named like a prompt that comes after a number.
    assert played - {"survey"} == set(hotline.TEXTS)


def test_an_agent_is_told_digit_by_digit(tmp_path: Path) -> None:
    codes = store_spoken(tmp_path / "objects")
    heard = hotline.agent_number(Cluster(tmp_path))
    assert heard == [codes[part] for part in spoken.digits(hotline.AGENT, "zh-CN")]
    assert len(heard) == len(hotline.AGENT)


def test_numbers_that_were_never_spoken_are_told(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="numbers cannot be spoken"):
        hotline.agent_number(Cluster(tmp_path))

"""What is told with a recording is what its readers read."""

from __future__ import annotations

import pytest
from signalbox.api.recording.v1.recording_pb2 import CallFacts
from signalbox.api.types.v1 import recordings_pb2
from signalbox.ivr.media import facts
from signalbox.media import facts as reader


def mailbox(**differences: object) -> CallFacts:
    told = {
        "call_id": "call-1", "tenant": "t1", "number": "4001234567", "caller": "+8613912345678", "line": "mailbox",
        "media_node": 7, "caller_media": "192.0.2.7:4000", "caller_tag": "caller", "line_tag": "line", **differences,
    }  # fmt: skip
    made = CallFacts(**told)  # type: ignore[arg-type]
    made.answer_time.FromMilliseconds(1_795_380_000_007)
    return made


@pytest.mark.parametrize("caller", ["", "+8613912345678", "陈,先生 \N{PILE OF POO}", "anonymous"])
def test_it_is_read_as_it_was_meant(caller: str) -> None:
    told = mailbox(caller=caller)
    assert reader.parse("w1.call-1", facts.text(told)) == told


def test_a_message_and_whichever_recording_of_its_call_it_is_are_told() -> None:
    told = mailbox(recording="call-1.2", kind=recordings_pb2.RECORDING_KIND_MESSAGE)
    assert reader.parse("w1.call-1", facts.text(told)) == told


@pytest.mark.parametrize(
    ("differences", "field"),
    [
        ({"line": ""}, "line"),
        ({"line": "a,b"}, "line"),
        ({"tenant": ""}, "tenant"),
        ({"number": "400 1"}, "number"),
        ({"media_node": 0}, "media_node"),
    ],
)
def test_what_could_not_be_read_is_refused_by_name(differences: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        facts.text(mailbox(**differences))


def test_more_than_a_reader_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="2048 at most"):
        facts.text(mailbox(caller="1" * 2000))

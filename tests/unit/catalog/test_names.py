"""Names of objects."""

from __future__ import annotations

import pytest
from signalbox.api.recording.v1.recording_pb2 import CallFacts
from signalbox.api.types.v1 import types_pb2
from signalbox.catalog import names

OGG, WAV = types_pb2.RECORDING_FORMAT_OGG_OPUS, types_pb2.RECORDING_FORMAT_WAV


def facts(call_id: str) -> CallFacts:
    made = CallFacts(call_id=call_id, tenant="acme")
    made.answer_time.FromJsonString("2026-01-01T07:59:59.999+08:00")
    return made


@pytest.mark.parametrize(("format", "suffix"), [(OGG, "ogg"), (WAV, "wav"), (0, "ogg")])
def test_audio_lies_below_its_tenant_and_the_utc_day_of_the_answer(
    format: types_pb2.RecordingFormat, suffix: str
) -> None:
    name = names.audio(facts("4f2a-9@10.0.0.1"), 2, format)
    assert name == f"recordings/acme/2025/12/31/4f2a-9@10.0.0.1.2.{suffix}"
    assert names.metadata(name) == "recordings/acme/2025/12/31/4f2a-9@10.0.0.1.2.json"


@pytest.mark.parametrize(
    ("call_id", "escaped"), [("../a", "..=2Fa"), ("a%2Fb", "a=252Fb"), ("a=b c", "a=3Db=20c"), ("é", "=C3=A9")]
)
def test_no_call_id_leads_elsewhere_or_to_another_ones_name(call_id: str, escaped: str) -> None:
    assert names.audio(facts(call_id), 1, OGG) == f"recordings/acme/2025/12/31/{escaped}.1.ogg"


def test_an_attempt_may_leave_audio_of_any_format_and_metadata() -> None:
    made = names.left(facts("c1"), 3)
    assert [name.rpartition("/")[2] for name in made] == ["c1.3.ogg", "c1.3.wav", "c1.3.json"]
    assert made[0] == names.audio(facts("c1"), 3, types_pb2.RECORDING_FORMAT_OGG_OPUS)
    assert names.metadata(made[1]) == made[2]

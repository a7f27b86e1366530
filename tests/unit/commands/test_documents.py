"""Objects as YAML and JSON documents."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.types.v1 import flows_pb2, schedules_pb2, types_pb2
from signalbox.commands import documents
from signalbox.commands.documents import DocumentError


def read(text: str) -> list[dict[str, Any]]:
    file = io.StringIO(text)
    file.name = "rules.yaml"
    return documents.read(file)


def test_what_looks_like_a_number_or_a_time_is_text() -> None:
    (document,) = read("number: 01088886666\nend_time: 18:00\ndate: 2026-10-01\nversion: 1e3\nyes: no\n")
    assert document == {
        "number": "01088886666", "end_time": "18:00", "date": "2026-10-01", "version": "1e3", "yes": "no"
    }  # fmt: skip


def test_true_false_and_nothing_are_what_they_are() -> None:
    assert read('a: true\nb: false\nc:\nd: null\ne: "true"\n') == [
        {"a": True, "b": False, "c": None, "d": None, "e": "true"}
    ]


def test_json_is_yaml() -> None:
    assert read('{"kind": "Line", "port": 5060}') == [{"kind": "Line", "port": "5060"}]


def test_empty_documents_are_passed_over() -> None:
    assert read("---\na: b\n---\n---\nc: d\n") == [{"a": "b"}, {"c": "d"}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "rules.yaml"),
        ("a: 1\na: 2\n", "a stands there twice"),
        ("b:\n  a: 1\n  a: 2\n", "a stands there twice"),
        ("- a\n", "document 1: an object is expected"),
        ("a: b\n---\njust text\n", "document 2: an object is expected"),
        ("? [a]\n: b\n", "name must be text"),
        ("a: !!python/object:os.system b\n", "rules.yaml"),
    ],
)
def test_what_is_no_document_is_refused(text: str, told: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(text)
    assert told in caught.value.message


def test_a_message_takes_the_names_of_the_api() -> None:
    line = documents.message(
        types_pb2.Line, {"tenant": "acme", "port": "5070", "transport": "SIP_TRANSPORT_TCP"}, "line"
    )
    assert line == types_pb2.Line(tenant="acme", port=5070, transport=types_pb2.SIP_TRANSPORT_TCP)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"tenantt": "acme"}, 'no field named "tenantt"'),
        ({"port": "many"}, "port"),
        ({"port": "-1"}, "port"),
        ({"transport": "CARRIER_PIGEON"}, "CARRIER_PIGEON"),
    ],
)
def test_a_field_that_is_none_is_named(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(DocumentError) as caught:
        documents.message(types_pb2.Line, fields, "rules.yaml: document 3")
    assert caught.value.message.startswith("rules.yaml: document 3: ")
    assert told in caught.value.message
    assert "\n" not in caught.value.message


def test_a_field_deep_inside_is_named_with_its_place() -> None:
    with pytest.raises(DocumentError) as caught:
        documents.message(flows_pb2.Flow, {"draft": {"nodes": [{"id": "a"}, {"id": "b", "diall": {}}]}}, "flow")
    assert "Flow.draft.nodes[1]" in caught.value.message


def test_what_is_written_is_read_back() -> None:
    schedule = schedules_pb2.Schedule(tenant="acme", id="hours", display_name="true")
    period = schedule.draft.periods.add(name="open")
    period.weekly.days.extend([schedules_pb2.WEEKDAY_MONDAY])
    period.weekly.start_time, period.weekly.end_time = "09:00", "18:00"
    (again,) = read(documents.text([documents.fields(schedule)]))
    assert documents.message(schedules_pb2.Schedule, again, "") == schedule


def test_numbers_are_written_plainly() -> None:
    assert documents.text([documents.fields(types_pb2.Line(port=5070, concurrent_calls=2))]) == (
        "port: 5070\nconcurrent_calls: 2\n"
    )


def test_what_the_service_writes_can_be_left_out() -> None:
    tenant = types_pb2.Tenant(id="acme", etag="7")
    tenant.create_time.FromSeconds(1)
    assert documents.fields(tenant, output_only=False) == {"id": "acme", "etag": "7"}


VALUES = st.recursive(
    st.none() | st.booleans() | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcde", min_size=1), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text("abcde", min_size=1), VALUES, min_size=1))
def test_every_document_is_read_back_as_it_was(document: dict[str, Any]) -> None:
    assert read(documents.text([document])) == [document]

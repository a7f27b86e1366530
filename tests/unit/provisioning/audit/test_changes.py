"""What is told of changes that are too large, or of what this release knows nothing of."""

from __future__ import annotations

import hashlib

from google.protobuf import descriptor_pool, message_factory
from signalbox.api.types.v1 import audit_pb2, flows_pb2, types_pb2
from signalbox.provisioning.audit import changes
from signalbox.provisioning.audit.outbox import ENTRY_BYTES_MAX
from signalbox.store import codec, keys
from signalbox.store.base import Delete, Entry, Put


def entry(key: str, value: bytes) -> Entry:
    return Entry(key, value, 1, 1)


def flow(revisions: int, size: int, draft: bytes = b"") -> flows_pb2.Flow:
    """A flow of many large revisions."""
    made = flows_pb2.Flow(tenant="acme", id="main", display_name=draft.decode())
    for number in range(1, revisions + 1):
        revision = made.revisions.add(number=number)
        revision.graph.entry = "x" * size
    return made


def changed(before: flows_pb2.Flow, after: flows_pb2.Flow) -> audit_pb2.AuditChange:
    key = codec.key_of(before)
    [made] = changes.of_writes([Put(key, codec.encode(after))], {key: entry(key, codec.encode(before))})
    return made


def test_a_flow_with_many_revisions_is_told_by_those_that_changed() -> None:
    before, after = flow(20, 30_000), flow(21, 30_000)
    change = changed(before, after)
    changes.shorten([change], ENTRY_BYTES_MAX)
    assert change.ByteSize() < ENTRY_BYTES_MAX
    assert (change.before.abridged, change.after.abridged) == (True, True)
    told = flows_pb2.Flow()
    assert change.after.object.Unpack(told)
    assert [revision.number for revision in told.revisions] == [21]
    assert told.revisions[0] == after.revisions[20]


def test_what_is_still_too_large_is_told_by_its_hash_the_largest_first() -> None:
    large, small = types_pb2.Prompt(tenant="acme", id="large"), types_pb2.Prompt(tenant="acme", id="small")
    large.display_name = "x" * ENTRY_BYTES_MAX
    made = list(changes.of_writes([Put(codec.key_of(one), codec.encode(one)) for one in (large, small)],
                                  {codec.key_of(one): None for one in (large, small)}))  # fmt: skip
    changes.shorten(made, ENTRY_BYTES_MAX)
    one, other = made
    assert not one.after.HasField("object")
    assert (one.after.size, one.after.sha256) == (large.ByteSize(), hashlib.sha256(codec.encode(large)).digest())
    assert other.after.HasField("object")
    assert (one.kind, one.tenant, one.id) == ("prompt", "acme", "large")


def test_a_key_of_an_unknown_kind_and_a_damaged_value_are_told_by_their_keys() -> None:
    line = keys.line("acme", "a")
    made = changes.of_writes(
        [Put("new/things/1", b"new"), Delete(line), Delete("fences/tenants/acme")],
        {"new/things/1": None, line: entry(line, b"\xff\xff")},
    )
    assert [(one.kind, one.id) for one in made] == [("key", "new/things/1"), ("key", line)]
    assert made[0].after.sha256 == hashlib.sha256(b"new").digest()
    assert made[1].before.size == 2


def test_what_is_written_as_it_was_is_no_change() -> None:
    line = codec.encode(types_pb2.Line(tenant="acme", id="a"))
    key = keys.line("acme", "a")
    assert not changes.of_writes([Put(key, line)], {key: entry(key, line)})
    assert not changes.of_writes([Delete(key)], {key: None})


def test_few_entries_are_named_and_many_are_counted() -> None:
    few = changes.entries("acme", "fraud", ["p1380", "n13800001234", "x", "a010", "r北京"], adding=True)
    assert list(few.entries.entries) == [
        "area code 010", "number 13800001234", "prefix 1380", "province 北京", "anonymous",
    ]  # fmt: skip
    many = changes.entries("", "fraud", [f"n{n}" for n in range(10_000)], adding=False)
    assert (many.entries.added, many.entries.removed, len(many.entries.entries)) == (0, 10_000, 0)
    assert many.ByteSize() < 200
    text = "".join(f"n{n}\n" for n in sorted(map(str, range(10_000))))
    assert many.entries.sha256 == hashlib.sha256(text.encode()).digest()


def test_no_field_of_what_is_stored_is_a_secret_that_is_not_known_as_one() -> None:
    pool = descriptor_pool.Default()
    suspicious = set()
    for name in ("types", "flows", "schedules", "screening", "inventory"):
        file = pool.FindFileByName(f"signalbox/api/types/v1/{name}.proto")
        for message in file.message_types_by_name.values():
            kind = message_factory.GetMessageClass(message)
            suspicious |= {
                field
                for field in kind.DESCRIPTOR.fields_by_name
                if any(word in field for word in ("secret", "password", "token", "private"))
            }
    # Of a password in a flow a seal is kept, which may be seen.
    assert suspicious - {"password"} == changes.SECRETS

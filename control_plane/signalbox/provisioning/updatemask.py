"""Update masks (AIP-134, AIP-161): which fields of a stored object an update changes. Pure.

Paths name fields of the object itself (``stages``), not parts of them: a repeated field is replaced as a whole.
Output-only fields in a mask are ignored, so that a mask made for reading serves for writing. Fields that can't change
may be named, or sent along, with the value that they have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from signalbox.errors import FieldViolation, InvalidFieldError

if TYPE_CHECKING:
    from collections.abc import Set

    from google.protobuf.field_mask_pb2 import FieldMask
    from google.protobuf.message import Message

OUTPUT_ONLY = frozenset({"etag", "create_time", "update_time", "revisions"})
"""Fields that the service alone writes, of the objects that have them."""

M = TypeVar("M", bound="Message")


def without_output_only(given: M) -> M:
    """A copy of an object as a caller sent it, without what only the service writes."""
    kept = type(given)()
    kept.CopyFrom(given)
    for name in OUTPUT_ONLY & set(kept.DESCRIPTOR.fields_by_name):
        kept.ClearField(name)
    return kept


def apply(stored: M, given: M, mask: FieldMask, immutable: Set[str], path: str) -> M:
    """A copy of ``stored`` with the masked fields of ``given`` in it.

    No paths, or the single path ``*``, stand for every field that can change. Raises InvalidFieldError for unknown
    paths, and for fields in ``immutable`` that differ; ``path`` is the name of the object in the request.
    """
    known = set(stored.DESCRIPTOR.fields_by_name)
    everything = not mask.paths or list(mask.paths) == ["*"]
    paths = known if everything else set(mask.paths)
    violations = [
        FieldViolation(f"update_mask.paths[{position}]", f"{path} has no field {name!r}")
        for position, name in enumerate(mask.paths)
        if not everything and name not in known
    ]
    merged = type(stored)()
    merged.CopyFrom(stored)
    for name in sorted(paths & known - OUTPUT_ONLY):
        if name in immutable:
            if _present(given, name) and getattr(given, name) != getattr(stored, name):
                violations.append(FieldViolation(f"{path}.{name}", "cannot be changed"))
        else:
            _copy_field(given, merged, name)
    if violations:
        raise InvalidFieldError(*violations)
    return merged


def _present(message: Message, name: str) -> bool:
    """True if a field has a value: is set, or not the empty value of its type."""
    return any(field.name == name for field, _ in message.ListFields())


def _copy_field(source: M, target: M, name: str) -> None:
    """Make the field of ``target`` what it is in ``source``, absent too."""
    part = type(source)()
    part.CopyFrom(source)
    for field in source.DESCRIPTOR.fields_by_name:
        if field != name:
            part.ClearField(field)
    target.ClearField(name)
    target.MergeFrom(part)

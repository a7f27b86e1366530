"""Update masks (AIP-134, AIP-161): which fields of a stored object an update changes. Pure.

Paths name fields of the object (``stages``), and fields of these (``limits.concurrent_calls``) but for repeated ones,
which are replaced as a whole. Output-only fields in a mask are ignored, so that a mask made for reading serves for
writing. Fields that can't change may be named, or sent along, with the value that they have.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from signalbox.errors import FieldViolation, InvalidFieldError

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.field_mask_pb2 import FieldMask
    from google.protobuf.message import Message

OUTPUT_ONLY = frozenset({"etag", "create_time", "update_time", "revisions", "audio"})
"""Fields that the service alone writes, of the objects that have them."""

M = TypeVar("M", bound="Message")


def without_output_only(given: M) -> M:
    """A copy of an object as a caller sent it, without what only the service writes."""
    kept = _copy(given)
    for name in _output_only(kept.DESCRIPTOR):
        kept.ClearField(name)
    return kept


@cache
def _output_only(kind: Descriptor) -> Set[str]:
    return OUTPUT_ONLY & set(kind.fields_by_name)


def apply(stored: M, given: M, mask: FieldMask, immutable: Set[str], path: str) -> M:
    """A copy of ``stored`` with the masked fields of ``given`` in it.

    No paths, or the single path ``*``, stand for every field that can change. Raises InvalidFieldError for unknown
    paths, and for fields in ``immutable`` that differ; ``path`` is the name of the object in the request.
    """
    everything = not mask.paths or list(mask.paths) == ["*"]
    named = list(stored.DESCRIPTOR.fields_by_name) if everything else list(mask.paths)
    violations = []
    merged = _copy(stored)
    for position, text in enumerate(named):
        names = _fields(stored.DESCRIPTOR, text)
        if names is None:
            reason = "stands for all fields, and must be alone" if text == "*" else f"{path} has no field {text!r}"
            violations.append(FieldViolation(f"update_mask.paths[{position}]", reason))
        elif names[0] in OUTPUT_ONLY:
            continue
        elif names[0] not in immutable:
            _put(given, merged, names)
        elif _present(given, names[0]):
            changed = _copy(stored)
            _put(given, changed, names)
            if changed != stored:
                violations.append(FieldViolation(f"{path}.{text}", "cannot be changed"))
    if violations:
        raise InvalidFieldError(*violations)
    return merged


def _fields(of: Any, path: str) -> Sequence[str] | None:
    """The names of the fields that a path goes through; None: there is no such path."""
    names = path.split(".")
    within = of
    for name in names:
        field = within.fields_by_name.get(name) if within else None
        if field is None:
            return None
        # Repeated fields, and times and durations, are changed as a whole.
        whole = field.is_repeated or (field.message_type and field.message_type.file.package == "google.protobuf")
        within = None if whole else field.message_type
    return names


def _present(message: Message, name: str) -> bool:
    """True if a field has a value: is set, or not the empty value of its type."""
    return any(field.name == name for field, _ in message.ListFields())


def _copy(message: M) -> M:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _put(source: M, target: M, names: Sequence[str]) -> None:
    """Make a field of ``target`` what it is in ``source``, absent too."""
    part = _copy(source)
    _keep(part, names)
    _clear(target, names)
    target.MergeFrom(part)


def _keep(message: Message, names: Sequence[str]) -> None:
    """Clear all fields but one."""
    name, *inner = names
    for other in message.DESCRIPTOR.fields_by_name:
        if other != name:
            message.ClearField(other)
    if inner and _present(message, name):
        _keep(getattr(message, name), inner)
        _clear_empty(message, name)


def _clear(message: Message, names: Sequence[str]) -> None:
    """Clear one field, and what holds nothing but it."""
    name, *inner = names
    if not inner:
        message.ClearField(name)
    elif _present(message, name):
        _clear(getattr(message, name), inner)
        _clear_empty(message, name)


def _clear_empty(message: Message, name: str) -> None:
    if not getattr(message, name).ListFields():
        message.ClearField(name)

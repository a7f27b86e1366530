"""What an answer says: values of a JSON object (RFC 8259) as text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from signalbox.ivr.ports import RequestFailedError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class _Number(str):
    """A number as it was written: 1.50 is not 1.5 to who compares text."""

    __slots__ = ()


def values_of(answer: bytes, keys: Collection[str]) -> Mapping[str, str]:
    """The values under keys of an answer that are strings, numbers, true or false; others are left out.

    Raises RequestFailedError if the answer is no JSON object.
    """
    try:
        # utf-8-sig: a mark of the byte order may be passed over (RFC 8259 section 8.1).
        found = json.loads(
            answer.decode("utf-8-sig"), parse_int=_Number, parse_float=_Number, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise RequestFailedError("the answer is no JSON") from error
    if not isinstance(found, dict):
        raise RequestFailedError("the answer is no JSON object")
    return {key: text for key in keys if (text := _text(found.get(key)))}


def _text(value: Any) -> str:
    match value:
        case str():
            # Half a surrogate pair can be written in JSON, and nowhere else.
            return value.encode(errors="ignore").decode()
        case True:
            return "true"
        case False:
            return "false"
    return ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")

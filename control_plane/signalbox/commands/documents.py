"""Objects of the API as YAML or JSON documents.

The fields are those of the API, in its JSON form (ProtoJSON): durations are ``20s``, enumerated values their names. In
YAML every value is text but ``true``, ``false`` and ``null``: telephone numbers keep their zeros, and ``18:00`` is no
number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click
import yaml
from google.protobuf import json_format

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from google.protobuf.message import Message

OUTPUT_ONLY = frozenset({"create_time", "update_time", "revisions", "audio"})
"""Fields that the service writes."""


class DocumentError(click.ClickException):
    """A document is not what it should be. Says which one and what."""


class _Loader(yaml.SafeLoader):
    """YAML whose scalars are text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012, as in the base class

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As SafeLoader does, but a key that stands there twice is an error."""
        seen: set[object] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise yaml.constructor.ConstructorError(None, None, "a field's name must be text", key.start_mark)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name} stands there twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^(?:null|~|)$"), ["n", "~", ""])


class _Dumper(yaml.SafeDumper):
    """Writes text without quotes where the loader above reads it back as text."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, data: object) -> bool:
        """Equal parts are written out."""
        return True


# Also those that remember an order of their own.
_Dumper.add_multi_representer(dict, _Dumper.represent_dict)
# Numbers are text like everything else.
for _kind in (int, float):
    _Dumper.add_representer(_kind, lambda dumper, number: dumper.represent_str(str(number)))


def read(file: TextIO) -> list[dict[str, Any]]:
    """The documents of a file, each a mapping. Raises DocumentError."""
    try:
        documents = [document for document in yaml.load_all(file, _Loader) if document is not None]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DocumentError(f"{file.name}: {error}") from error
    for position, document in enumerate(documents, 1):
        if not isinstance(document, dict):
            raise DocumentError(f"{file.name}: document {position}: an object is expected, with a field in each line")
    return documents


def value(text: str) -> Any:
    """One value as YAML has it: text, true, false, null, a list or a mapping. Raises DocumentError."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise DocumentError(f"{text!r}: {error}") from error


def message(kind: Callable[[], Message], fields: dict[str, Any], where: str) -> Message:
    """The fields as a message. Raises DocumentError that names the field."""
    try:
        return json_format.ParseDict(fields, kind())
    except json_format.ParseError as error:
        # What other fields there are does not help in a message of one line.
        raise DocumentError(f"{where}: {str(error).partition(chr(10))[0]}") from error


def fields(message: Message, *, output_only: bool = True) -> dict[str, Any]:
    """A message's fields that are set, in the order of the API."""
    known = json_format.MessageToDict(message, preserving_proto_field_name=True)
    order = [field.name for field in message.DESCRIPTOR.fields if field.name in known]
    return {name: known[name] for name in order if output_only or name not in OUTPUT_ONLY}


def text(documents: Sequence[dict[str, Any]]) -> str:
    """Documents as YAML."""
    dumped: str = yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, explicit_start=len(documents) > 1
    )
    return dumped

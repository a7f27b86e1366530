"""A draft of the rules that is put over the present ones in memory alone."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signalbox.commands import documents, entries
from signalbox.commands.apply import Item, stored_by, wanted_by
from signalbox.commands.kinds import BY_NAME, Kind, owner
from signalbox.errors import InvalidFieldError
from signalbox.provisioning import validate_screening

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TextIO

Key = tuple[str, ...]
"""Kind of an object and its identity: ("Line", "acme", "desk"), ("Number", "4001234567")."""
ListName = tuple[str, str]
"""Owner and id of a screening list."""

_OF_ALL = ("Trunk", "TrunkGroup")
"""Kinds that calls of every tenant rest on."""


def key_of(kind: str, object: Any) -> Key:
    """The key of an object."""
    return (kind, *[getattr(object, name) for name in BY_NAME[kind].identity])


@dataclass
class Draft:
    """What is other than in the present rules.

    ``objects``: those put (versioned ones with the draft that is to be in force), None: deleted. ``added`` and
    ``removed``: entries of lists, in the form in which they are stored.
    """

    objects: dict[Key, Any | None] = field(default_factory=dict)
    added: dict[ListName, set[str]] = field(default_factory=dict)
    removed: dict[ListName, set[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.objects or self.added or self.removed)

    def __contains__(self, key: Key) -> bool:
        return key in self.objects

    def put(self, key: Key, object: Any | None) -> None:
        """Put or delete an object. Raises UsageError for one that the draft has already."""
        if key in self.objects:
            raise click.UsageError(f"{key[0]} {'/'.join(key[1:])} is in the draft twice")
        self.objects[key] = object

    @property
    def tenants(self) -> frozenset[str] | None:
        """Those whose calls may come to something else, beside calls to numbers in the draft; None: any."""
        found = {name for name, _ in (*self.added, *self.removed)}
        for key in self.objects:
            if key[0] in _OF_ALL:
                return None
            if key[0] != "Number":
                found.add(key[1])
        return None if "" in found else frozenset(found)


class Drafting:
    """Collects a draft from what is given on the command line. ``stub`` is of the provisioning service."""

    def __init__(self, stub: Any, timeout_s: float) -> None:
        self._stub = stub
        self._timeout_s = timeout_s
        self.draft = Draft()

    def files(self, files: Iterable[TextIO], *, delete: bool) -> None:
        """Put or delete the objects of files. Raises DocumentError, UsageError, and RpcError if they may not be
        read."""
        for file in files:
            for position, fields in enumerate(documents.read(file), 1):
                kind, wanted = wanted_by(file.name, position, fields)
                item = Item(kind, wanted, self._stored(kind, wanted))
                if delete:
                    if item.stored is not None:
                        self.draft.put(key_of(kind.name, wanted), None)
                elif item.changes or kind.versioned:
                    # What is stored last of a flow may be yet to come in force.
                    self.draft.put(key_of(kind.name, wanted), wanted)

    def stored(self, kind: str, names: Iterable[str]) -> None:
        """Put the stored drafts of flows or schedules, each TENANT/ID. Raises UsageError, RpcError."""
        for name in names:
            tenant, _, id = name.partition("/")
            object = self._stored(BY_NAME[kind], BY_NAME[kind].message(tenant=tenant, id=id)) if id else None
            if object is None or not object.HasField("draft"):
                why = "has no draft" if object is not None else "is not there: TENANT/ID is expected"
                raise click.UsageError(f"{BY_NAME[kind].words} {name} {why}")
            self.draft.put(key_of(kind, object), object)

    def entries(self, given: Sequence[tuple[str, str]], *, add: bool) -> None:
        """Add or remove entries, each with its TENANT/LIST; "@FILE" stands for the lines of a file. Raises
        UsageError, RpcError."""
        side, other = (self.draft.added, self.draft.removed) if add else (self.draft.removed, self.draft.added)
        kind = BY_NAME["ScreeningList"]
        for name, written in given:
            tenant, _, id = name.partition("/")
            list_ = (owner(tenant), id)
            key = (kind.name, *list_)
            there = key in self.draft or (id and self._stored(kind, kind.message(tenant=list_[0], id=id)))
            if not there or self.draft.objects.get(key, there) is None:
                raise click.UsageError(f"screening list {name} is not there: TENANT/LIST is expected")
            found = set(_normal(_lines(Path(written[1:])) if written.startswith("@") else [written]))
            if both := found & other.get(list_, set()):
                raise click.UsageError(f"screening list {name}: {min(both)[1:]} is both added and removed")
            side.setdefault(list_, set()).update(found)

    def _stored(self, kind: Kind, object: Any) -> Any | None:
        return stored_by(self._stub, kind, object, self._timeout_s)


def stored_entries(given: Iterable[Any]) -> Iterator[str]:
    """Entries as they are stored, of those of the API. Raises InvalidFieldError."""
    every = iter(given)
    while batch := list(itertools.islice(every, validate_screening.ENTRIES_MAX)):
        yield from validate_screening.entries(batch)


def _lines(file: Path) -> Iterator[str]:
    """Entries of a file, one a line. Raises UsageError."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file}: {error}") from error
    return (entry for line in text.splitlines() if (entry := line.partition("#")[0].strip()))


def _normal(texts: Iterable[str]) -> Iterator[str]:
    """Entries as they are stored, of those that people write. Raises UsageError."""
    for text in texts:
        try:
            yield from stored_entries([entries.parse(text)])
        except InvalidFieldError as error:
            raise click.UsageError(f"{text!r} is no entry of a list: {error.violations[0].reason}") from error

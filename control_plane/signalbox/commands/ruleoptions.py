"""The fields of rule objects as command-line options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import click

from signalbox.api.types.v1 import types_pb2

Command = TypeVar("Command", bound=Callable[..., Any])

RING_TIME_DEFAULT_S = 30


@dataclass(frozen=True)
class Field:
    """One field as an option; ``convert`` makes the field's value of the option's."""

    name: str
    flags: str
    help: str
    required: bool = False
    multiple: bool = False
    type: click.ParamType[Any] | None = None
    convert: Callable[[Any], Any] = lambda value: value
    create_only: bool = False


@dataclass(frozen=True)
class Fields:
    """The options of one kind of object."""

    fields: Sequence[Field]

    @property
    def required(self) -> Sequence[Field]:
        """Those that a new object must have."""
        return [field for field in self.fields if field.required]

    def options(self, *, create: bool) -> Callable[[Command], Command]:
        """Decorator that adds the options; ``create``: those too that only a new object takes."""

        def decorate(command: Command) -> Command:
            for field in reversed(self.fields):
                if field.create_only and not create:
                    continue
                # A pair of flags needs to be told that neither may be given.
                option = click.option(
                    field.flags, field.name, help=field.help, multiple=field.multiple, type=field.type, default=None
                )
                command = option(command)
            return command

        return decorate

    def given(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that were given on the command line, as the API has them."""
        return {
            field.name: field.convert(values[field.name])
            for field in self.fields
            if values.get(field.name) not in (None, ())
        }


def etag_option(command: Command) -> Command:
    """The option that makes a write conditional."""
    return click.option("--etag", default="", help="Only if this is still the stored version.")(command)


def short(kind: Any, value: int) -> str:
    """Name of an enumerated value as options have it: SIP_TRANSPORT_UDP is "udp"."""
    name: str = kind.Name(value)
    return name[len(_prefix(kind)) :].lower()


def stage_text(stage: types_pb2.DialStage) -> str:
    """A stage as the option --stage takes it."""
    lines = ",".join(stage.lines)
    if not stage.HasField("ring_time"):
        return lines
    return f"{lines}:{Decimal(stage.ring_time.ToMilliseconds()) / 1000:f}"


def parse_stage(text: str) -> types_pb2.DialStage:
    """``LINE[,LINE...][:SECONDS]``. Raises BadParameter; what the lines are is for the service to check."""
    lines, colon, seconds = text.partition(":")
    stage = types_pb2.DialStage(lines=lines.split(","))
    if colon:
        try:
            milliseconds = Decimal(seconds) * 1000
            stage.ring_time.FromMilliseconds(int(milliseconds))
        except (InvalidOperation, ValueError, OverflowError):
            raise click.BadParameter(f"{seconds!r} is no ring time in seconds", param_hint="--stage") from None
        if milliseconds != int(milliseconds):
            raise click.BadParameter("a ring time has whole milliseconds", param_hint="--stage")
    return stage


def _choice(name: str, flags: str, kind: Any, help: str) -> Field:
    names = {short(kind, value): value for value in kind.values() if value}
    return Field(name, flags, help, type=click.Choice(list(names)), convert=names.__getitem__)


def _prefix(kind: Any) -> str:
    """What the names of an enum's values have in common: its first value is <PREFIX>UNSPECIFIED."""
    return str(kind.Name(0)).removesuffix("UNSPECIFIED")


_DISPLAY_NAME = Field("display_name", "--display-name", "Name shown to people.")

TENANT_FIELDS = Fields([Field("time_zone", "--time-zone", "IANA name of its time zone."), _DISPLAY_NAME])
TRUNK_FIELDS = Fields(
    [
        Field(
            "source_addresses",
            "--source",
            "Address or network that calls come from; again for each.",
            multiple=True,
        ),
        Field("disabled", "--disabled/--enabled", "Refuse calls from it with 403, or take them."),
        _DISPLAY_NAME,
    ]
)
LINE_FIELDS = Fields(
    [
        Field("user", "--user", "User part of the request URI: the number to dial.", required=True),
        Field("host", "--host", "IPv4 or IPv6 address that the INVITE is sent to; none: through a trunk group."),
        Field("port", "--port", "Port.  [default: 5060]", type=click.IntRange(0, 65_535)),
        _choice("transport", "--transport", types_pb2.SipTransport, "Transport to the line.  [default: udp]"),
        _choice(
            "identity_policy",
            "--identity",
            types_pb2.IdentityPolicy,
            "P-Asserted-Identity is passed on or taken out.  [default: pass]",
        ),
        _DISPLAY_NAME,
    ]
)
NUMBER_FIELDS = Fields(
    [
        Field("tenant", "--tenant", "Tenant that the number belongs to.", required=True, create_only=True),
        Field(
            "stages",
            "--stage",
            "Lines that ring together, and for how long: LINE[,LINE...][:SECONDS]; again for each stage.  "
            f"[default ring time: {RING_TIME_DEFAULT_S}]",
            multiple=True,
            convert=lambda texts: [parse_stage(text) for text in texts],
        ),
        Field("flow", "--flow", "Call flow, instead of stages."),
        _choice("state", "--state", types_pb2.NumberState, "Whether it takes calls.  [default: active]"),
        _choice(
            "media",
            "--media",
            types_pb2.MediaMode,
            "Media through rtpengine, direct, or recorded by rtpengine.  [default: anchor]",
        ),
    ]
)

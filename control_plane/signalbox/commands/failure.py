"""Errors as people read them, and the exit codes that scripts read."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, cast

import click
import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from signalbox.commands.output import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


REFUSED = 1
UNAVAILABLE = 3

NOBODY_THERE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
"""Statuses of a service that cannot be reached, or cannot reach what it needs."""


class UnreachableError(click.ClickException):
    """No service could be reached."""

    exit_code = UNAVAILABLE


@contextlib.contextmanager
def told(named: Callable[[str], str] = str) -> Iterator[None]:
    """Turn a failed RPC in the body into its message, reason and fields on standard error and the exit code.

    ``named``: what people call a field of the request.
    """
    try:
        yield
    except grpc.RpcError as error:
        for line in describe(error, named):
            click.echo(line, err=True)
        sys.exit(UNAVAILABLE if error.code() in NOBODY_THERE else REFUSED)


def reason_of(error: grpc.RpcError) -> str:
    """The reason of a failed RPC, e.g. "WRITE_CONTENTION"; "" if it has none."""
    status = rpc_status.from_call(cast("grpc.Call", error))
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status is not None else ():
        if detail.Unpack(info):
            return str(info.reason)
    return ""


def describe(error: grpc.RpcError, named: Callable[[str], str] = str) -> list[str]:
    """The lines that tell of a failed RPC: message, reason, and each offending field."""
    status = rpc_status.from_call(cast("grpc.Call", error))
    if status is None:
        return [f"Error: {clean(error.details() or '')} ({error.code().name})"]
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        if not detail.Unpack(info):
            detail.Unpack(bad)
    if not bad.field_violations:
        return [f"Error: {clean(status.message)} ({info.reason})"]
    fields = [f"  {clean(named(v.field))}: {clean(v.description)}" for v in bad.field_violations]
    if more := info.metadata.get("more"):
        fields.append(f"  and {clean(more)} more")
    return [f"Error: the request is not valid ({info.reason})", *fields]

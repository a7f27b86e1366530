"""Stored call flows and line groups into the objects that decisions are made of.

A flow that comes out of here is one that can be walked through: a graph that would lead nowhere, or round for ever, is
refused with its flow, so that such a thing in the store cannot stop the service.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import flows_pb2
from signalbox.domain.flow import Flow, FlowGraph, FlowRevision, LineGroup
from signalbox.domain.flow_check import structure
from signalbox.store import codec, flowgraph

if TYPE_CHECKING:
    from collections.abc import Callable


def line_group(message: flows_pb2.LineGroup) -> LineGroup:
    """A line group as it is stored. Raises DamagedValueError."""
    lines = flowgraph.dial_lines(message.lines)
    try:
        distribution = flowgraph.distribution(message.distribution)
    except KeyError as error:
        raise codec.DamagedValueError(codec.key_of(message), f"unknown distribution {error}") from error
    if not lines or not all(one.line for one in lines):
        raise codec.DamagedValueError(codec.key_of(message), "has no lines")
    return LineGroup(sys.intern(message.tenant), message.id, lines, distribution)


def flow(message: flows_pb2.Flow) -> Flow:
    """A flow as it is stored: its revisions, without the draft. Raises DamagedValueError."""
    return _flow(message, lambda one: _revision(message, one))


def known_flow(message: flows_pb2.Flow) -> Flow:
    """A flow of which it is known that :func:`flow` takes it, as far as a call needs it."""
    return _flow(
        message,
        lambda one: FlowRevision(one.number, codec.seconds(one.activate_time), flowgraph.known_graph(one.graph)),
    )


def _flow(message: flows_pb2.Flow, revision: Callable[[flows_pb2.FlowRevision], FlowRevision]) -> Flow:
    revisions = sorted(map(revision, message.revisions), key=lambda one: (one.activate_time, one.number))
    return Flow(sys.intern(message.tenant), message.id, tuple(revisions))


def _revision(owner: flows_pb2.Flow, message: flows_pb2.FlowRevision) -> FlowRevision:
    try:
        graph = _graph(message.graph.SerializeToString(deterministic=True))
    except ValueError as error:
        raise codec.DamagedValueError(codec.key_of(owner), f"revision {message.number}: {error}") from error
    return FlowRevision(message.number, codec.seconds(message.activate_time), graph)


@lru_cache(maxsize=256)
def _graph(serialized: bytes) -> FlowGraph:
    """A graph that can be walked through. With every change of a flow all of its revisions come again: one is new.

    Raises ValueError.
    """
    graph = flowgraph.graph(flows_pb2.FlowGraph.FromString(serialized))
    for wrong in structure(graph):
        raise ValueError(f"{wrong.field}: {wrong.reason}")
    return graph

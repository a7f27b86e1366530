"""What happens to a call in its flow, as tests bring it about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import flows_pb2

from support.voice_calls import World, seconds, step

if TYPE_CHECKING:
    from signalbox.api.routing.v1 import routing_pb2


def asking(**fields: object) -> routing_pb2.ContinueResponse:
    """A menu that waits for a key as long as the caller likes."""
    node = flows_pb2.MenuNode(
        prompt="choose", timeout=seconds(600), inter_digit_timeout=seconds(600), max_digits=1,
        branches=[flows_pb2.MenuBranch(digits="1", next="next")],
    )  # fmt: skip
    return step(flows_pb2.FlowNode(id="menu", menu=node), **fields)


async def freed(world: World) -> None:
    """The call is over, and nothing of it is left."""
    await world.over()
    assert len(world.commands("delete")) == min(1, len(world.commands("offer")))
    assert world.ua.calls == set()

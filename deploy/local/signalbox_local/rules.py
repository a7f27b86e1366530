"""Puts rules into a cluster through the provisioning API, as any provisioning system would."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import grpc
from google.protobuf import duration_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from signalbox.address import split
from signalbox.api.provisioning.v1 import prompts_pb2, prompts_pb2_grpc, provisioning_pb2, provisioning_pb2_grpc
from signalbox.api.types.v1 import flows_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from signalbox_local.cluster import Cluster

TIMEOUT_S = 5.0
SPEAK_S = 30.0
"""Time for a text to be spoken: other texts may come first."""


class Rules:
    """The provisioning API of one cluster. Every method may raise grpc.RpcError."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
        self._audio = prompts_pb2_grpc.PromptServiceStub(channel)

    @classmethod
    @contextlib.contextmanager
    def of(cls, cluster: Cluster) -> Iterator[Rules]:
        """Rules over a connection that ends with the block."""
        with cluster.provisioning_channel() as channel:
            yield cls(channel)

    def tenant(self, id: str) -> types_pb2.Tenant:
        """Create a tenant."""
        request = provisioning_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(id=id))
        return self._stub.CreateTenant(request, timeout=TIMEOUT_S)

    def trunk(self, id: str, source_addresses: Sequence[str]) -> types_pb2.Trunk:
        """Create a trunk."""
        trunk = types_pb2.Trunk(id=id, source_addresses=source_addresses)
        return self._stub.CreateTrunk(provisioning_pb2.CreateTrunkRequest(trunk=trunk), timeout=TIMEOUT_S)

    def line(self, tenant: str, id: str, address: str, user: str = "", *, agent_number: str = "") -> types_pb2.Line:
        """Create a line at ``host:port``; user part: the id by default."""
        host, port = split(address)
        line = types_pb2.Line(tenant=tenant, id=id, user=user or id, host=host, port=port, agent_number=agent_number)
        return self._stub.CreateLine(provisioning_pb2.CreateLineRequest(line=line), timeout=TIMEOUT_S)

    def number(
        self,
        tenant: str,
        number: str,
        stages: Sequence[Sequence[str]] = (),
        *,
        flow: str = "",
        ring_s: int = 30,
        anchored: bool = True,
        recorded: bool = False,
        concurrent_calls: int = 0,
    ) -> types_pb2.Number:
        """Create a number that rings these lines, stage after stage, or has a flow.

        ``anchored``: RTP goes through an rtpengine; ``recorded``: and is recorded there. ``concurrent_calls``: so many
        at once, 0: any number.
        """
        media = types_pb2.MEDIA_MODE_ANCHOR if anchored else types_pb2.MEDIA_MODE_BYPASS
        value = types_pb2.Number(
            number=number,
            tenant=tenant,
            stages=dial_stages(stages, ring_s),
            flow=flow,
            media=types_pb2.MEDIA_MODE_RECORD if recorded else media,
            limits=types_pb2.Limits(concurrent_calls=concurrent_calls),
        )
        return self._stub.CreateNumber(provisioning_pb2.CreateNumberRequest(number=value), timeout=TIMEOUT_S)

    def prompt(self, tenant: str, id: str, language: str, text: str) -> types_pb2.Prompt:
        """Create a prompt, which is spoken soon after; language: a tag of BCP 47."""
        prompt = types_pb2.Prompt(tenant=tenant, id=id, language=language, text=text)
        return self._stub.CreatePrompt(provisioning_pb2.CreatePromptRequest(prompt=prompt), timeout=TIMEOUT_S)

    def speak(self, tenant: str, id: str) -> bytes:
        """Have a prompt spoken now: what callers hear of it, a WAV file of A-law."""
        self._audio.SpeakPrompt(prompts_pb2.SpeakPromptRequest(tenant=tenant, id=id), timeout=SPEAK_S)
        asked = prompts_pb2.DownloadPromptAudioRequest(tenant=tenant, id=id, law=prompts_pb2.PROMPT_LAW_ALAW)
        return b"".join(part.content for part in self._audio.DownloadPromptAudio(asked, timeout=TIMEOUT_S))

    def flow(self, tenant: str, id: str, nodes: Sequence[flows_pb2.FlowNode]) -> None:
        """Create a flow that begins at the first of its nodes, and put it into force."""
        flow = flows_pb2.Flow(tenant=tenant, id=id, draft=flows_pb2.FlowGraph(entry=nodes[0].id, nodes=nodes))
        self._stub.CreateFlow(provisioning_pb2.CreateFlowRequest(flow=flow), timeout=TIMEOUT_S)
        activation = provisioning_pb2.ActivateFlowRequest(tenant=tenant, id=id)
        self._stub.ActivateFlow(activation, timeout=TIMEOUT_S)

    def voice_number(self, tenant: str, number: str, line: str, text: str) -> None:
        """Create a number that says a text in Mandarin, and rings a line when 1 is pressed: its prompt and flow, too.

        What exists already is left as it is.
        """
        with existing_is_fine():
            self.prompt(tenant, "welcome", "zh-CN", text)
        with existing_is_fine():
            self.flow(tenant, "welcome", key_then_line("welcome", line))
        with existing_is_fine():
            self.number(tenant, number, flow="welcome")

    def get_number(self, number: str) -> types_pb2.Number:
        """A number as it is stored."""
        return self._stub.GetNumber(provisioning_pb2.GetNumberRequest(number=number), timeout=TIMEOUT_S)

    def delete_number(self, number: str) -> None:
        """Delete a number."""
        self._stub.DeleteNumber(provisioning_pb2.DeleteNumberRequest(number=number), timeout=TIMEOUT_S)

    def change(
        self, number: types_pb2.Number, stages: Sequence[Sequence[str]], *, ring_s: int = 30
    ) -> types_pb2.Number:
        """Change what a number rings; ABORTED if somebody else has changed it since it was read."""
        value = types_pb2.Number(number=number.number, etag=number.etag, stages=dial_stages(stages, ring_s))
        request = provisioning_pb2.UpdateNumberRequest(number=value, update_mask=FieldMask(paths=["stages"]))
        return self._stub.UpdateNumber(request, timeout=TIMEOUT_S)


@contextlib.contextmanager
def existing_is_fine() -> Iterator[None]:
    """Within: what is to be created and exists already is left as it is."""
    try:
        yield
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise


def key_then_line(prompt: str, line: str, *, repeats: int = 1, ring_s: int | None = None) -> list[flows_pb2.FlowNode]:
    """Nodes of a flow that plays a prompt, rings a line when 1 is pressed, and ends as busy otherwise.

    ``repeats``: after silence or another key it is played so often again; ``ring_s``: the line rings so long, None: as
    long as lines do.
    """
    ask = flows_pb2.MenuNode(
        prompt=prompt,
        branches=[flows_pb2.MenuBranch(digits="1", next="ring")],
        repeats=repeats,
        no_input="end",
        no_match="end",
    )
    ring = flows_pb2.DialNode(lines=[flows_pb2.DialLine(line=line)], busy="end", no_answer="end", failed="end")
    if ring_s is not None:
        ring.ring_time.FromSeconds(ring_s)
    end = flows_pb2.HangUpNode(cause=flows_pb2.HANG_UP_CAUSE_BUSY)
    return [
        flows_pb2.FlowNode(id="ask", menu=ask),
        flows_pb2.FlowNode(id="ring", dial=ring),
        flows_pb2.FlowNode(id="end", hang_up=end),
    ]


def dial_stages(stages: Sequence[Sequence[str]], ring_s: int) -> list[types_pb2.DialStage]:
    """Lines that ring together, stage after stage, each so many seconds."""
    ring_time = duration_pb2.Duration(seconds=ring_s)
    return [types_pb2.DialStage(lines=lines, ring_time=ring_time) for lines in stages]

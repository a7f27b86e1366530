"""A running cluster with workers with voice: flows of each test's own, prompts whose sound is known, and what is left
of calls when they are over."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import secrets
import socket
import wave
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from google.protobuf import json_format
from signalbox.address import split
from signalbox.api.provisioning.v1 import (
    prompts_pb2,
    prompts_pb2_grpc,
    provisioning_pb2,
    recordings_pb2,
    recordings_pb2_grpc,
)
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.api.types.v1 import recordings_pb2 as types_recordings_pb2
from signalbox.bencode import decode, encode
from signalbox.commands.journals import JournalReader
from signalbox.g711 import A_LAW, MU_LAW, RATE
from signalbox.speech.languages import Language
from signalbox.speech.manifest import NAME, Manifest, PartAudio, Source, folder_of
from signalbox.speech.spoken import parts_of

from support import sounds
from support.heard import noise, samples
from support.prompts import parts as upload
from support.site import TENANT, TIMEOUT_S, LineAt, Site, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from signalbox.api.events.v1 import events_pb2
    from signalbox.api.types.v1.recordings_pb2 import Recording
    from signalbox.g711 import Law
    from signalbox_local.cluster import Cluster

    from support.phone import Phone

OVER_S = 30.0
PROMPTS = {
    "welcome": 1.0,
    "english": 0.6,
    "wrong-key": 0.6,
    "nothing": 0.6,
    "question": 0.6,
    "goodbye": 0.6,
    "music": 1.0,
    "ring-back": 1.0,
    "whisper": 0.6,
    "before": 0.5,
    "after": 0.5,
}
"""Prompts of the tenant, and how long each is, seconds."""
PART_S = 0.2
UPLOAD_RATE = 16_000
_REDIS_CALLS = "signalbox:calls:*"


def node(id: str, kind: str, **fields: Any) -> flows_pb2.FlowNode:
    """A node of a flow, its fields as in JSON: ``node("greet", "announce", prompt="welcome", next="end")``."""
    return json_format.ParseDict({"id": id, kind: fields}, flows_pb2.FlowNode())


def end(cause: str = "DECLINED", id: str = "end", **fields: Any) -> flows_pb2.FlowNode:
    """The end of a flow."""
    return node(id, "hang_up", cause=f"HANG_UP_CAUSE_{cause}", **fields)


def dial(*lines: str, id: str = "dial", **fields: Any) -> flows_pb2.FlowNode:
    """A node that rings lines by their ids."""
    return node(id, "dial", lines=[{"line": line} for line in lines], **fields)


class VoiceSite(Site):
    """``prompts``: codes of the tenant's prompts by their ids, as media nodes play them to a caller of A-law."""

    def __init__(self, cluster: Cluster, gateway_port: int) -> None:
        super().__init__(cluster)
        self.gateway_port = gateway_port
        """Where workers hand short messages over, on loopback; nobody is there unless a test is."""
        self.prompts: dict[str, bytes] = {}
        self.spoken: dict[str, bytes] = {}
        """Codes of spoken parts of Chinese and English."""
        self._ids = itertools.count(1)
        self._uploads = prompts_pb2_grpc.PromptServiceStub(self._channel)
        self._recordings = recordings_pb2_grpc.RecordingServiceStub(self._channel)
        kept = types_pb2.Tenant(
            id=TENANT, recording=types_pb2.RecordingPolicy(format=types_pb2.RECORDING_FORMAT_WAV)
        )  # fmt: skip
        self.provisioning.UpdateTenant(provisioning_pb2.UpdateTenantRequest(tenant=kept), timeout=TIMEOUT_S)
        for seed, (id, seconds) in enumerate(PROMPTS.items(), 1):
            self.prompts[id] = self._prompt(id, samples(seed, seconds, UPLOAD_RATE))

    # --- rules -------------------------------------------------------------------------------------------------

    def line(self, phone: Phone, **fields: Any) -> str:
        """A new line that rings a telephone; its id."""
        id = f"line-{next(self._ids)}"
        host, port = phone.address
        made = types_pb2.Line(**{"tenant": TENANT, "id": id, "user": id, "host": host, "port": port, **fields})
        self.provisioning.CreateLine(provisioning_pb2.CreateLineRequest(line=made), timeout=TIMEOUT_S)
        return id

    def line_at(self, line: LineAt) -> str:
        """A new line by where it listens; its id."""
        return self._line(f"line-{next(self._ids)}", line)

    def flow(self, *nodes: flows_pb2.FlowNode, **number: Any) -> str:
        """A new service number with a flow that begins at the first node, known to all replicas on return.

        ``number``: fields of the number.
        """
        id = f"flow-{next(self._ids)}"
        made = flows_pb2.Flow(tenant=TENANT, id=id, draft=flows_pb2.FlowGraph(entry=nodes[0].id, nodes=nodes))
        self.provisioning.CreateFlow(provisioning_pb2.CreateFlowRequest(flow=made), timeout=TIMEOUT_S)
        activated = provisioning_pb2.ActivateFlowRequest(tenant=TENANT, id=id)
        self.provisioning.ActivateFlow(activated, timeout=TIMEOUT_S)
        digits = f"400{9_000_000 + next(self._ids)}"
        value = types_pb2.Number(number=digits, tenant=TENANT, flow=id, **number)
        stored = self.provisioning.CreateNumber(
            provisioning_pb2.CreateNumberRequest(number=value), timeout=TIMEOUT_S
        )  # fmt: skip
        self.cluster.wait_for_rules(stored.etag)
        return digits

    def outside(self, phone: Phone) -> str:
        """A new telephone number outside, carried by a trunk that ends at a telephone."""
        number = f"139{next(self._ids):04d}0000"
        host, port = phone.address
        trunk = types_pb2.Trunk(
            id=f"to-{number}",
            targets=[types_pb2.TrunkTarget(host=host, port=port)],
            health_check=types_pb2.HealthCheck(disabled=True),
        )
        self.provisioning.CreateTrunk(provisioning_pb2.CreateTrunkRequest(trunk=trunk), timeout=TIMEOUT_S)
        members = [types_pb2.TrunkGroupMember(trunk=trunk.id)]
        group = types_pb2.TrunkGroup(id=trunk.id, prefixes=[number[:7]], members=members)
        request = provisioning_pb2.CreateTrunkGroupRequest(trunk_group=group)
        self.provisioning.CreateTrunkGroup(request, timeout=TIMEOUT_S)
        return number

    def api_key(self) -> tuple[str, str]:
        """A new API key of the tenant: its id and its secret."""
        given = types_pb2.ApiKey(tenant=TENANT, id=f"key-{next(self._ids)}", role=types_pb2.ROLE_TENANT_READER)
        request = provisioning_pb2.CreateApiKeyRequest(api_key=given)
        return given.id, str(self.provisioning.CreateApiKey(request, timeout=TIMEOUT_S).secret)

    def _prompt(self, id: str, sound: sounds.Sound) -> bytes:
        given = types_pb2.Prompt(tenant=TENANT, id=id)
        self.provisioning.CreatePrompt(provisioning_pb2.CreatePromptRequest(prompt=given), timeout=TIMEOUT_S)
        file = sounds.file("wav", sound, UPLOAD_RATE)
        self._uploads.UploadPromptAudio(upload(file, len(file), tenant=TENANT, id=id), timeout=OVER_S)
        return self.codes(id)

    def codes(self, prompt: str, law: Law = A_LAW) -> bytes:
        """What media nodes play of a prompt."""
        name = prompts_pb2.PROMPT_LAW_ALAW if law is A_LAW else prompts_pb2.PROMPT_LAW_ULAW
        asked = prompts_pb2.DownloadPromptAudioRequest(tenant=TENANT, id=prompt, law=name)
        wav = b"".join(one.content for one in self._uploads.DownloadPromptAudio(asked, timeout=TIMEOUT_S))
        return wav[wav.index(b"data") + 8 :]

    # --- what happened -----------------------------------------------------------------------------------------

    def id_of(self, sip_call_id: str) -> str:
        """A call's id in Signalbox, by the Call-ID of the caller's side; empty if nobody has heard of it."""
        asked = [one for one in self.all_events() if one.asked.sip_call_id == sip_call_id]
        return asked[0].call_id if asked else ""

    def told(self, sip_call_id: str) -> list[events_pb2.CallEvent]:
        """What workers told of a call."""
        id = self.id_of(sip_call_id)
        readers = [JournalReader(self.cluster.journal(name), name) for name in self.cluster.names("ivr")]
        return [event for reader in readers for event in reader.read() if event.call_id == id]

    async def ended(self, sip_call_id: str) -> events_pb2.FlowEnded:
        """Wait until the worker is done with a call."""

        def there() -> bool:
            return any(one.HasField("flow_ended") for one in self.told(sip_call_id))

        await eventually(there, "flow_ended in the journals", within=OVER_S)
        (found,) = (one.flow_ended for one in self.told(sip_call_id) if one.HasField("flow_ended"))
        return found

    async def steps(self, sip_call_id: str) -> list[str]:
        """The steps of a call that is over, each as ``menu: digits 1``."""
        await self.ended(sip_call_id)
        steps = [one.flow_step for one in self.told(sip_call_id) if one.HasField("flow_step")]
        return [f"{one.node}: {one.outcome}{one.digits and ' '}{one.digits}".rstrip(" ") for one in steps]

    # --- what was recorded -------------------------------------------------------------------------------------

    async def recording(self, id: str) -> Recording:
        """Wait until a recording is stored."""
        found: list[Recording] = []

        def stored() -> bool:
            with contextlib.suppress(grpc.RpcError):
                request = recordings_pb2.GetRecordingRequest(tenant=TENANT, call_id=id)
                found[:] = [self._recordings.GetRecording(request, timeout=TIMEOUT_S)]
            return bool(found) and found[0].state == types_recordings_pb2.RECORDING_STATE_STORED

        await eventually(stored, f"the recording {id}", lambda: found, within=OVER_S)
        return found[0]

    def recorded(self, id: str) -> NDArray[np.int16]:
        """What was recorded: caller and line, a column each."""
        request = recordings_pb2.DownloadRecordingRequest(tenant=TENANT, call_id=id)
        content = b"".join(one.content for one in self._recordings.DownloadRecording(request, timeout=TIMEOUT_S))
        with wave.open(io.BytesIO(content)) as file:
            assert (file.getnchannels(), file.getframerate()) == (2, RATE)
            return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16).reshape(-1, 2)

    # --- what is left ------------------------------------------------------------------------------------------

    async def nothing_left(self) -> None:
        """Wait until no call is left at proxies, workers, rtpengines, and none is counted."""
        for what in ("calls", "legs"):
            await eventually(
                lambda what=what: not any(self.at_worker(name, what) for name in self.cluster.names("ivr")),
                f"no {what} at workers",
                within=OVER_S,
            )
        await eventually(lambda: not self.media_calls(), "no calls at rtpengine", self.media_calls, within=OVER_S)
        await eventually(lambda: not self.counted(), "no calls counted", self.counted, within=OVER_S)

    def at_worker(self, name: str, what: str) -> float:
        """How many calls or legs a worker has."""
        return self.metric(name, f"signalbox_ivr_{what}")

    def media_calls(self) -> list[str]:
        """Ids of all calls at the rtpengines."""
        found = []
        for name in self.cluster.names("rtpengine"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(TIMEOUT_S)
                client.connect(split(self.cluster.address(name, "ng")))
                # Of a cookie that it has heard rtpengine repeats its reply.
                client.send(secrets.token_hex(8).encode() + b" " + encode({"command": "list", "limit": 1000}))
                reply = decode(client.recv(1 << 16).partition(b" ")[2])
                assert isinstance(reply, dict)
                found += [str(one) for one in reply["calls"]]  # type: ignore[union-attr]
        return found

    def counted(self) -> list[str]:
        """Keys under which live calls are counted."""
        host, port = split(self.cluster.address("redis", "redis"))
        with socket.create_connection((host, port), TIMEOUT_S) as client, client.makefile("rb") as lines:
            client.sendall(f"KEYS {_REDIS_CALLS}\r\n".encode())
            count = int(lines.readline()[1:])
            return [[lines.readline(), lines.readline()][1].strip().decode() for _ in range(count)]


def store_spoken(objects: Path) -> dict[str, bytes]:
    """Put spoken parts of all languages, known sounds, where a cluster looks for them; codes of A-law by name."""
    codes: dict[str, bytes] = {}
    for language in Language:
        folder = objects / folder_of(language)
        folder.mkdir(parents=True)
        parts = {}
        for name in sorted(parts_of(language)):
            codes[name] = noise(10_000 + len(codes), PART_S)
            digests = []
            for law in (A_LAW, MU_LAW):
                content = law.wav(A_LAW.decode(codes[name]))
                digests.append(hashlib.sha256(content).hexdigest())
                (folder / f"{digests[-1]}.{law.ending}").write_bytes(content)
            parts[name] = PartAudio(digests[0], digests[1], round(PART_S * 1000), Source.RECORDED)
        (folder / NAME).write_bytes(Manifest(language, parts).encoded())
    return codes

"""How a parent and its workers understand each other."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from signalbox.errors import ConfigurationError
from signalbox.process import Supervisor
from signalbox.routing.worker import Role, Worker, start_line
from signalbox.routing.workers import Workers
from signalbox.settings import MetricsSettings, RoutingSettings, Settings
from signalbox.store.memory import MemoryStore
from support.ports import free_port


def test_a_worker_is_told_its_role_and_all_settings() -> None:
    settings = Settings(routing=RoutingSettings(workers=3, snapshot_file=Path("a/b")))
    told = json.loads(start_line(settings, Role(2, 5, shared=True)))
    assert Role(**told["role"]) == Role(2, 5, shared=True)
    assert Settings(**told["settings"]) == settings


async def test_each_worker_has_a_side_door_of_its_own() -> None:
    port = free_port()
    settings = RoutingSettings(
        listen="127.0.0.1:0", metrics=MetricsSettings(listen=f"127.0.0.1:{port}"), snapshot_file=Path("unused")
    )
    worker = Worker(settings, MemoryStore(), Role(index=1))
    assert worker.side_door_address == f"127.0.0.1:{port + 1}"
    anywhere = settings.model_copy(update={"metrics": MetricsSettings(listen="[::1]:0")})
    assert Worker(anywhere, MemoryStore(), Role(index=1)).side_door_address == "[::1]:0"


async def test_several_workers_need_a_port_that_is_given_and_free() -> None:
    anywhere = Settings(routing=RoutingSettings(workers=2, listen="127.0.0.1:0"))
    with pytest.raises(ConfigurationError, match="not 0"):
        await Workers(anywhere).run(Supervisor())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match="in use"):
            await Workers(Settings(routing=RoutingSettings(workers=2, listen=listen))).run(Supervisor())

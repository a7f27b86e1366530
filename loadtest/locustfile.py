"""``locust -f loadtest/locustfile.py``: users, options, and what happens when a run begins and ends.

A shape comes as a second file: ``-f loadtest/locustfile.py,loadtest/shapes/busy_hour.py``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import gevent
from grpc.experimental.gevent import init_gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner
from signalbox.errors import ConfigurationError

from loadtest import options, run
from loadtest.exitcodes import ExitCode
from loadtest.report import judge
from loadtest.users.grpc_router import GrpcRouter
from loadtest.users.provisioner import Provisioner
from loadtest.users.sip import SipCaller

if TYPE_CHECKING:
    from locust.env import Environment

__all__ = ["GrpcRouter", "Provisioner", "SipCaller"]

# Before any channel: gRPC's own threads would stop all users.
init_gevent()
events.init_command_line_parser.add_listener(options.add)


@events.init.add_listener
def begin(environment: Environment, runner: object, **_: object) -> None:
    """A process starts: a lone one makes sure that calls get through before anything else."""
    try:
        this = run.Run(environment)
    except ConfigurationError as error:
        print(f"load test: {error}", file=sys.stderr)
        sys.exit(ExitCode.NOT_BEGUN)
    if isinstance(runner, WorkerRunner):
        runner.register_message(run.FINISH, this.on_finish)
        gevent.spawn(this.prepare)
    elif isinstance(runner, MasterRunner):
        runner.register_message(run.FINISHED, this.on_finished)
        runner.register_message(run.FAILED, this.on_failed)
    else:
        this.prepare()


@events.test_start.add_listener
def start(environment: Environment, **_: object) -> None:
    """Users are about to come."""
    run.of(environment).start()


@events.test_stopping.add_listener
def finish(environment: Environment, **_: object) -> None:
    """Users are about to go; calls end as they would."""
    run.of(environment).finish()


@events.report_to_master.add_listener
def report(client_id: str, data: dict[str, Any], **_: object) -> None:
    """A worker tells its master."""
    for this in run.all_of_them():
        this.report(data)


@events.worker_report.add_listener
def take_report(client_id: str, data: dict[str, Any], **_: object) -> None:
    """The master hears of it."""
    for this in run.all_of_them():
        this.take_report(client_id, data)


@events.quitting.add_listener
def end(environment: Environment, **_: object) -> None:
    """The process ends; whoever collects says how the run went."""
    this = run.of(environment)
    assert environment.runner is not None
    # After an interruption the run has not ended yet.
    environment.runner.stop()
    if this.collects and environment.process_exit_code is None:
        # Locust goes on when a hook of its fails: that is no success.
        environment.process_exit_code = ExitCode.NOT_JUDGED
        environment.process_exit_code = judge(this)
    this.close()

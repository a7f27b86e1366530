"""``make loadtest-crosscheck``: calls at one rate by SIPp and by us, in turns, and how far their figures are apart."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from signalbox_local import sipp
from signalbox_local.bench import machine, write_json
from signalbox_local.sipp_logs import TracedMessage, read_messages

from loadtest import rows, site
from loadtest.__main__ import QUIET, cluster, locust_command
from loadtest.model import settings
from loadtest.model.traffic import Model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signalbox_local.cluster import Cluster

HERE = Path(__file__).parent
TRAFFIC = HERE / "traffic.toml"
TELEPHONE = HERE / "telephone.xml"
SIPP_SITE = 99
"""Of numbers and tenants, so that both are there at once."""
WITHIN = 0.05
FIGURES = ("calls a second", "answered, share", "post-dial delay, ms", "time to answer, ms", "talk time, ms")


@dataclass(frozen=True, slots=True)
class Seen:
    """What one generator saw of its calls: means."""

    rate: float
    answered: float
    delay_ms: float
    answer_ms: float
    talk_ms: float

    def values(self) -> tuple[float, ...]:
        """In the order of FIGURES."""
        return self.rate, self.answered, self.delay_ms, self.answer_ms, self.talk_ms


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rate", type=click.FloatRange(0.1, 200), default=20.0, show_default=True, help="Calls a second.")
@click.option("--seconds", type=click.IntRange(5, 600), default=20, show_default=True, help="Length of a round.")
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True, help="Of each, in turns.")
@click.option("--report", type=click.Path(path_type=Path), default=Path("var/loadtest/crosscheck"), show_default=True)
def main(rate: float, seconds: int, rounds: int, report: Path) -> None:
    """Measure, print, and end with code 1 if a figure is more than 5 % apart."""
    console = Console(highlight=False)
    seen: dict[str, list[Seen]] = {"SIPp": [], "ours": []}
    with cluster(console) as found:
        for turn in range(1, rounds + 1):
            for name, run in (("SIPp", by_sipp), ("ours", by_us)):
                seen[name].append(run(found, rate, seconds, report / f"{name.lower()}-{turn}"))
                console.print(f"round {turn}, {name}: {seen[name][-1]}")
    medians = {name: median(some) for name, some in seen.items()}
    apart = {
        figure: abs(ours - theirs) / theirs
        for figure, ours, theirs in zip(FIGURES, medians["ours"].values(), medians["SIPp"].values(), strict=True)
    }
    table = Table("median of rounds", "SIPp", "ours", "apart")
    for figure, theirs, ours in zip(FIGURES, medians["SIPp"].values(), medians["ours"].values(), strict=True):
        table.add_row(figure, f"{theirs:.2f}", f"{ours:.2f}", f"{apart[figure]:.2%}")
    console.print(table)
    everything = {name: [dict(zip(FIGURES, one.values(), strict=True)) for one in some] for name, some in seen.items()}
    write_json(report / "crosscheck.json", {"machine": machine(), "rate": rate, "rounds": everything, "apart": apart})
    sys.exit(0 if max(apart.values()) <= WITHIN else 1)


def median(some: Sequence[Seen]) -> Seen:
    """Of each figure for itself."""
    return Seen(*(statistics.median(values) for values in zip(*(one.values() for one in some), strict=True)))


def by_us(found: Cluster, rate: float, seconds: int, folder: Path) -> Seen:
    """One round by Locust. Raises CalledProcessError if it did not come to its report."""
    options = ["--traffic", str(TRAFFIC), "--peak", str(rate), "--seconds", str(seconds), "--report", str(folder)]
    command = locust_command(found, "steady", "SipCaller", *QUIET, *options)
    file = folder / "report.json"
    file.unlink(missing_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not file.exists():
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return of_report(json.loads(file.read_text()))


def of_report(report: Mapping[str, Any]) -> Seen:
    """What a report tells."""
    means = {row["name"]: row["mean"] for row in report["rows"] if row["type"] == rows.SIP}
    return Seen(
        report["attempts"] / report["seconds"],
        report["figures"]["asr"],
        means[rows.DELAY],
        means[rows.ANSWERED],
        means[rows.TALK],
    )


def by_sipp(found: Cluster, rate: float, seconds: int, folder: Path) -> Seen:
    """One round by SIPp. Raises SippError."""
    return asyncio.run(_by_sipp(found, rate, seconds, folder))


async def _by_sipp(found: Cluster, rate: float, seconds: int, folder: Path) -> Seen:
    model = Model(settings.read(TRAFFIC))
    proxy = found.address(found.names("kamailio")[0], "sip")
    telephone = sipp.SippOptions(TELEPHONE, folder, "telephone", host=found.line_host, timeout_s=0)
    async with await sipp.Sipp.start(telephone) as line:
        rules = site.Site(SIPP_SITE, found.caller_host, (found.line_host, line.port))
        with found.provisioning_channel() as channel:
            site.write(channel, rules, model)
            try:
                await asyncio.to_thread(found.wait_for_rules, _revision(found))
                caller = sipp.SippOptions(
                    sipp.SCENARIOS / "uac_load.xml",
                    folder,
                    "caller",
                    host=found.caller_host,
                    target=proxy,
                    service=rules.number(0),
                    rate=rate,
                    calls=round(rate * seconds),
                    hold_ms=round(model.traffic.calls.hold.mean_s * 1000),
                    timeout_s=seconds + 60.0,
                    keys={"caller": "01088886666"},
                    trace_messages=True,
                )
                result = await sipp.run(caller)
            finally:
                site.remove(channel, rules, model)
    messages = read_messages(folder / "caller.messages")
    return of_log(messages, result.statistics.calls)


def _revision(found: Cluster) -> int:
    """That of the rules, now."""
    return max(int(str(found.facts(name).get("rule_revision") or 0)) for name in found.names("routing"))


def of_log(messages: Sequence[TracedMessage], calls: int) -> Seen:
    """What SIPp's message log tells, whose times are true."""
    at: dict[str, dict[str, float]] = {}
    for message in messages:
        name = message.start_line.split(" ")[0] if message.sent else message.start_line.split(" ")[1]
        if name == "200" and not message.header("CSeq").endswith("INVITE"):
            name = "over"
        at.setdefault(message.header("Call-ID"), {}).setdefault(name, message.time)
    begun = [one["INVITE"] for one in at.values() if "INVITE" in one]
    answered = [one for one in at.values() if "200" in one and "180" in one and "BYE" in one]

    def mean(first: str, then: str) -> float:
        return statistics.fmean(1000 * (one[then] - one[first]) for one in answered)

    length = max(begun) - min(begun)
    return Seen(
        (len(begun) - 1) / length,
        len(answered) / calls,
        mean("INVITE", "180"),
        mean("INVITE", "200"),
        mean("ACK", "BYE"),
    )


if __name__ == "__main__":
    main()

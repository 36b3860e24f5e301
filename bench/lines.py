"""A slow line: a proxy's delay and bandwidth between the server and who pulls, with and without COMPRESS."""

from __future__ import annotations

import argparse
import functools
import statistics
from dataclasses import dataclass
from pathlib import Path

from bench import clients, common, mail
from tests.servers.proxy import Proxy

DELAY = 0.025  # seconds each way
RATE = 50e6 / 8  # bytes a second each way, for all connections together
SPEEDS: tuple[float | None, ...] = (RATE, None)


@dataclass(frozen=True)
class Crossing:
    """A pull, and the bytes that came down the line for it."""

    run: common.Run
    down: int

    def used(self, rate: float) -> float:
        """How much of the line, from start-up to exit."""
        return self.down / rate / self.run.wall


def lines(options: argparse.Namespace, place: Path) -> None:
    """Delay and bandwidth, then delay alone; COMPRESS not offered, then offered."""
    for compress in (False, True):
        with mail.corpus(compress=compress) as corpus:
            for rate in SPEEDS:
                one_line(options, place, corpus, rate, compress)


def one_line(
    options: argparse.Namespace, place: Path, corpus: mail.Corpus, rate: float | None, compress: bool
) -> None:
    offered = "COMPRESS offered" if compress else "COMPRESS not offered"
    speed = f"{rate * 8 / 1e6:.0f} Mbit/s" if rate else "no limit of bandwidth"
    common.heading(f"line: {DELAY * 2000:.0f} ms round trip, {speed}, {offered}")
    pullers: dict[str, clients.Pull] = {
        "mbsync": clients.mbsync,
        "archiver": functools.partial(clients.archiver, settings={"compress": "on"} if compress else None),
    }
    crossings: dict[str, list[Crossing]] = {name: [] for name in pullers}
    for number in range(options.runs):
        for name, pull in pullers.items():
            directory = place / f"line-{number}-{bool(rate)}-{compress}-{name}"
            with Proxy((corpus.user.server.host, corpus.user.server.port), delay=DELAY, rate=rate) as proxy:
                run = clients.pulled(name, pull, corpus.user, proxy.port, directory, corpus.count)
                crossings[name].append(Crossing(run, proxy.bytes_down))
    runs = {name: [crossing.run for crossing in each] for name, each in crossings.items()}
    common.table(runs, corpus.count)
    for name, each in crossings.items():
        came = statistics.median(crossing.down for crossing in each)
        print(f"  {name:<24}{common.megabytes(came)} came down the line{share(each, rate)}")
    judge(crossings, common.ratio(runs["mbsync"], runs["archiver"]), rate, offered)


def share(crossings: list[Crossing], rate: float | None) -> str:
    if rate is None:
        return ""
    return f", {statistics.median(c.used(rate) for c in crossings):.0%} of what it carries in that time"


def judge(crossings: dict[str, list[Crossing]], ratio: float, rate: float | None, offered: str) -> None:
    figure = f"archiver at {ratio:.2f} of mbsync's rate, {offered}"
    if rate is None:
        common.verdict(figure, "at least 1.0", ratio >= 1)
    elif offered == "COMPRESS offered":
        common.verdict(figure, "at least 1.1", ratio >= 1.1)
    else:
        used = statistics.median(crossing.used(rate) for crossing in crossings["archiver"])
        common.verdict(f"{figure}, using {used:.0%} of the line", "at least 90 % of the line", used >= 0.9)

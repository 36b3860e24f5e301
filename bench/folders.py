"""Two hundred folders far away: nothing new in any, then five new messages in five of them."""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path

from bench import clients, common, mail
from tests.servers.dovecot import User
from tests.servers.proxy import Proxy

FOLDERS = 200
MESSAGES = 5  # in each
NEW = 5
DELAY = 0.025  # seconds each way
PULLERS: dict[str, clients.Pull] = {"mbsync": clients.mbsync, "archiver": clients.archiver}


@dataclass(frozen=True)
class Visit:
    """A run, and how often the client waited for an answer, from after the greeting to LOGOUT."""

    run: common.Run
    trips: int


Visits = dict[str, list[Visit]]


def folders(options: argparse.Namespace, place: Path) -> None:
    common.heading(f"folders: {FOLDERS}, {DELAY * 2000:.0f} ms round trip, archives in {options.root}")
    with mail.server() as (server, _):
        user = server.new_user()
        names = [f"list{number:03}" for number in range(FOLDERS - 1)]
        user.create(*names)
        mail.append(user, mail.made_up(MESSAGES), ["INBOX", *names])
        held = FOLDERS * MESSAGES
        for name, pull in PULLERS.items():
            clients.pulled(f"{name}, first pull", pull, user, server.port, at(place, name), held)
        idle: Visits = {name: [] for name in PULLERS}
        busy: Visits = {name: [] for name in PULLERS}
        for _ in range(options.runs):
            visit(user, place, idle, held)
        for number in range(options.runs):
            some = [names[(number + i * FOLDERS // NEW) % len(names)] for i in range(NEW)]
            mail.append(user, mail.made_up(1, first=held), some)
            held += NEW
            visit(user, place, busy, held)
    judge("nothing new", idle, 0.6, least_ratio=30, most_trips=6)
    judge(f"{NEW} new messages in {NEW} folders", busy, 1.2)


def visit(user: User, place: Path, visits: Visits, held: int) -> None:
    """Each once, over a line of its own; `held` messages must be there afterwards."""
    for name, pull in PULLERS.items():
        with Proxy((user.server.host, user.server.port), delay=DELAY) as proxy:
            run = clients.pulled(name, pull, user, proxy.port, at(place, name), held)
            visits[name].append(Visit(run, proxy.round_trips))


def at(place: Path, name: str) -> Path:
    return place / f"folders-{name}"


def judge(
    what: str, visits: Visits, most_seconds: float, least_ratio: float = 0, most_trips: int | None = None
) -> None:
    print(f"  {what}, medians")
    walls = {name: statistics.median(v.run.wall for v in each) for name, each in visits.items()}
    trips = {name: max(v.trips for v in each) for name, each in visits.items()}
    for name in visits:
        print(f"    {name:<22}{walls[name]:7.2f} s {trips[name]:5} round trips after connecting")
    ratio = common.ratio(*([visit.run for visit in visits[name]] for name in ("mbsync", "archiver")))
    targets = [f"under {most_seconds} s"]
    met = walls["archiver"] < most_seconds and ratio >= least_ratio
    if least_ratio:
        targets.append(f"at least {least_ratio} times as fast")
    if most_trips is not None:
        targets.append(f"at most {most_trips} round trips")
        met = met and trips["archiver"] <= most_trips
    figure = f"archiver in {walls['archiver']:.2f} s, {ratio:.0f} times as fast as mbsync"
    common.verdict(f"{figure}, {trips['archiver']} round trips", ", ".join(targets), met)

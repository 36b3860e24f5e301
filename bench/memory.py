"""Peak memory of a first pull: of few messages and of many, of large ones, and of one that is very large."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from bench import clients, common, mail
from tests.servers.dovecot import Dovecot

MIB = 1 << 20
LIMIT = 200 * MIB
FLAT = 1.15  # many messages may take so much more than few
HUGE = 100_000_000
LARGE = 128 * 1024


def memory(options: argparse.Namespace, place: Path) -> None:
    few, many, large = (1_000, 10_000, 500) if options.short else (10_000, 100_000, 4_000)
    common.heading("memory: largest resident size of the process, first pull, synthetic messages")
    peaks = {}
    with mail.server() as (server, _):
        for name, messages, count in (
            (f"{few:,} messages", mail.made_up(few), few),
            (f"{many:,} messages", mail.made_up(many), many),
            (f"{large:,} of 128 KiB", mail.made_up(large, size=LARGE), large),
            ("one of 100 MB", mail.made_up(1, size=HUGE), 1),
            ("one of 2 kB", mail.made_up(1, size=2000), 1),
        ):
            peaks[name] = peak(name, server, messages, count)
    for name, size in peaks.items():
        print(f"  {name:<24}{size / MIB:7.0f} MiB")
    at_few, at_many, at_large, with_huge, with_small = peaks.values()
    worst = max(at_few, at_many, at_large)
    common.verdict(f"at most {worst / MIB:.0f} MiB", "under 200 MiB", worst < LIMIT)
    common.verdict(
        f"{many:,} messages take {at_many / at_few:.2f} of what {few:,} take",
        f"flat (at most {FLAT})",
        at_many <= FLAT * at_few,
    )
    added = with_huge - with_small
    common.verdict(f"a message of 100 MB adds {added / MIB:.0f} MiB", "at most 32 MiB", added <= 32 * MIB)


def peak(name: str, server: Dovecot, messages: Iterable[bytes], count: int) -> int:
    """Bytes; archive and mailbox are on tmpfs, whose pages no process is charged for."""
    user = server.new_user()
    mail.append(user, messages)
    with common.workplace(common.TMPFS) as directory:
        return clients.pulled(name, clients.archiver, user, server.port, directory, count).memory

"""1,000 messages over one connection to a local sink: ours, with the durable outbox, beside smtplib.

Both send the same bytes, to the same sink, which runs in a process of its own, takes everything and keeps
only count and hash; turn by turn, each run with a new connection. What smtplib does not do: write down what
it is about to send, and what became of it, on the disk.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import smtplib
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from archiver.config import SmtpServer
from archiver.resend import Job, Parcel, Recipe, deliver, enqueue
from archiver.smtp import Mailbox, connect
from archiver.store.user import User
from bench import common, mail

HOST = "127.0.0.1"
MESSAGES = 1000
ME, YOU = "me@example.org", "you@example.org"
TARGET = 0.5
Taken = tuple[int, bytes]


def sink(pipe: Connection) -> None:
    """A server for one client after another; to the pipe how many messages each sent, and their hash."""
    with socket.create_server((HOST, 0)) as listener:
        pipe.send(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                pipe.send(talk(connection))


def talk(connection: socket.socket) -> Taken:
    """One client, to its QUIT: how many messages it sent, and the hash of their texts as they came."""
    count, digest, buffer = 0, hashlib.sha256(), b""
    connection.sendall(b"220 sink.example.org\r\n")
    while True:
        line, buffer = until(connection, buffer, b"\r\n")
        verb = line[:4].upper()
        if verb == b"DATA":
            connection.sendall(b"354 go on\r\n")
            text, buffer = until(connection, buffer, b"\r\n.\r\n")
            digest.update(text)
            count += 1
        elif verb == b"EHLO":
            connection.sendall(b"250-sink.example.org\r\n250-SIZE 100000000\r\n250 8BITMIME\r\n")
            continue
        connection.sendall(b"221 bye\r\n" if verb in (b"QUIT", b"") else b"250 ok\r\n")
        if verb in (b"QUIT", b""):
            return count, digest.digest()


def until(connection: socket.socket, buffer: bytes, end: bytes) -> tuple[bytes, bytes]:
    """What comes up to `end`, that included, and what came after it."""
    pieces, tail = [buffer], buffer
    while end not in tail:
        piece = connection.recv(1 << 18)
        if not piece:
            return b"", b""
        pieces.append(piece)
        tail = tail[-len(end) :] + piece
    whole = b"".join(pieces)
    at = whole.index(end) + len(end)
    return whole[:at], whole[at:]


def messages() -> list[bytes]:
    """Messages of sizes that people write, 4 kB in the median, lines ending in CRLF."""
    made = (raw.replace(b"\r", b"").replace(b"\n", b"\r\n") for raw in mail.made_up(MESSAGES))
    return [wire if wire.endswith(b"\r\n") else wire + b"\r\n" for wire in made]


def ours(port: int, jobs: Sequence[Job], user: User) -> float:
    """Seconds to send what is in the outbox."""
    server = SmtpServer(host=HOST, port=port, security="none", from_=ME)
    began = time.perf_counter()
    report = deliver(jobs, lambda: connect(server, None), user, lambda: datetime.now(UTC))
    if report.exit_code:
        sys.exit(f"not all was sent: {report.error}")
    return time.perf_counter() - began


def theirs(port: int, texts: Sequence[bytes]) -> float:
    """Seconds for the same with smtplib alone."""
    began = time.perf_counter()
    with smtplib.SMTP(HOST, port, local_hostname="[127.0.0.1]") as client:
        for text in texts:
            client.sendmail(ME, [YOU], text, mail_options=["body=8bitmime"])
    return time.perf_counter() - began


def measure(runs: int, root: Path) -> None:
    by_key = {hashlib.sha256(wire).digest(): wire for wire in messages()}
    recipe = Recipe(from_=Mailbox("", ME), to=(Mailbox("", YOU),), date=datetime.now(UTC))
    server = SmtpServer(host=HOST, port=25, security="none", from_=ME)
    pipe, end = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=sink, args=(end,), daemon=True)
    process.start()
    port = int(pipe.recv())
    ratios: list[float] = []
    rates: dict[str, list[float]] = {"archiver": [], "smtplib": []}
    for _ in range(runs):
        with common.workplace(root) as place, User(str(place)) as user:
            parcels = [Parcel((key,), recipe) for key in by_key]
            began = time.perf_counter()
            jobs = enqueue(parcels, server, "sink", user, datetime.now(UTC), by_key.__getitem__)
            # Writing down the intent is a part of sending.
            seconds = time.perf_counter() - began + ours(port, jobs, user)
            texts = [b"".join(job.load()) for job in jobs]
        taken = pipe.recv()
        bare = theirs(port, texts)
        if taken != pipe.recv() or taken[0] != len(texts):
            sys.exit("the two did not send the same")
        for name, each in (("archiver", seconds), ("smtplib", bare)):
            rates[name].append(len(texts) / each)
        ratios.append(bare / seconds)
        print(f"    archiver {seconds:.2f} s, smtplib {bare:.2f} s, load {common.load()}", flush=True)
    process.terminate()
    size = sum(map(len, texts)) / 1e6
    figures = {name: statistics.median(each) for name, each in rates.items()}
    print(f"  {len(texts):,} messages, {size:.1f} MB, medians of {runs}")
    ratio = statistics.median(ratios)
    common.verdict(
        f"{figures['archiver']:,.0f} msg/s with the outbox, smtplib {figures['smtplib']:,.0f}: {ratio:.2f}",
        f"at least {TARGET} of smtplib's rate",
        ratio >= TARGET,
    )


def main() -> None:
    parser = common.arguments(__doc__ or "")
    parser.add_argument("--runs", type=int, default=5, help="how often each (default: %(default)s)")
    options = parser.parse_args()
    common.compiled()
    common.heading(f"sending: {MESSAGES:,} messages over one connection, outbox in {options.root}")
    measure(options.runs, options.root)


if __name__ == "__main__":
    main()

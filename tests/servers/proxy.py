"""A TCP proxy that makes loopback as slow as a real line: delay, bandwidth, and counts of what went through.

    with Proxy(("127.0.0.1", 1143), delay=0.025, rate=50e6 / 8) as proxy:     # 50 ms round trip, 50 Mbit/s
        ...                                                                   # connect to proxy.port
    print(proxy.round_trips, proxy.bytes_up, proxy.bytes_down)

No loss, no jitter, no slow start. All connections share one line; each direction has the whole rate, and a
connection takes as long to open as TCP's handshake would.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

HOST = "127.0.0.1"
CHUNK = 64 * 1024
IN_FLIGHT = 4096  # chunks under way in one direction of a connection; then the sender must wait
# Seconds of traffic that wait before a full line, as in a router's buffer: a sender that wakes up a little
# late leaves no gap on the line.
BUFFER = 0.02


class Line:
    """One direction of the line: `rate` in bytes a second (None: no limit), `delay` in seconds."""

    def __init__(self, delay: float, rate: float | None) -> None:
        self.delay = delay
        self.rate = rate
        self._free_at = 0.0
        self._lock = threading.Lock()

    def depart(self, size: int) -> float:
        """Take the line for `size` bytes; the moment (time.monotonic) at which the last one has left."""
        if self.rate is None:
            return time.monotonic()
        with self._lock:
            self._free_at = max(time.monotonic(), self._free_at) + size / self.rate
            return self._free_at


class Proxy:
    """Forwards a free loopback port to `target`; `close` cuts every connection.

    round_trips: how often, over all connections, the client spoke after it had heard the server. The opening
    of a connection is none.
    """

    host = HOST

    def __init__(self, target: tuple[str, int], *, delay: float = 0, rate: float | None = None) -> None:
        self.target = target
        self.up, self.down = Line(delay, rate), Line(delay, rate)
        self.round_trips = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._listener = socket.create_server((HOST, 0))
        self._spawn(self._accept)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """Drop the connections there are now; new ones are still taken."""
        with self._lock:
            for each in self._sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._spawn(self._connect, client)

    def _connect(self, client: socket.socket) -> None:
        # SYN, its answer and its acknowledgement cross the line before the server has a connection.
        self._closing.wait(3 * self.up.delay)
        try:
            server = socket.create_connection(self.target)
        except OSError:
            client.close()
            return
        with self._lock:
            self._sockets += [client, server]
            if self._closing.is_set():
                return
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        turn = Turn()
        for source, sink, line, upwards in (
            (client, server, self.up, True),
            (server, client, self.down, False),
        ):
            chunks: queue.Queue[tuple[float, bytes]] = queue.Queue(IN_FLIGHT)
            count = functools.partial(self._count, turn, upwards)
            self._spawn(take, source, chunks, line, count if upwards else ignore)
            self._spawn(deliver, chunks, sink, ignore if upwards else count)

    def _count(self, turn: Turn, upwards: bool, size: int) -> None:
        """Note what passes the client's end of the line: the client answers only what it has heard."""
        with self._lock:
            if upwards:
                self.bytes_up += size
                self.round_trips += not turn.client
            else:
                self.bytes_down += size
            turn.client = upwards


class Turn:
    """Who spoke last on a connection; the server is taken to have, before anything was said."""

    client = False


def ignore(size: int) -> None:
    pass


def take(
    source: socket.socket,
    chunks: queue.Queue[tuple[float, bytes]],
    line: Line,
    count: Callable[[int], None],
) -> None:
    """Read one side at the line's rate and tell each chunk when to arrive; b"" is the end."""
    data = b"?"
    while data:
        try:
            data = source.recv(CHUNK)
        except OSError:
            data = b""
        if data:
            count(len(data))
        departure = line.depart(len(data))
        wait_until(departure - BUFFER)
        chunks.put((departure + line.delay, data))


def deliver(
    chunks: queue.Queue[tuple[float, bytes]], sink: socket.socket, count: Callable[[int], None]
) -> None:
    """Write what arrives, when it arrives; keep reading when the sink is gone, so that nobody blocks."""
    data = b"?"
    while data:
        arrival, data = chunks.get()
        wait_until(arrival)
        if data:
            count(len(data))
        with contextlib.suppress(OSError):
            if data:
                sink.sendall(data)
            else:
                sink.shutdown(socket.SHUT_WR)


def wait_until(moment: float) -> None:
    if (rest := moment - time.monotonic()) > 0:
        time.sleep(rest)

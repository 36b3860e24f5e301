"""To be heard in the middle of what cannot be interrupted: looking up a name, connecting, shaking hands."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from archiver.errors import InterruptedRun
from archiver.imap.stream import LOOK

_T = TypeVar("_T")


def heeding(work: Callable[[], _T], stop: Callable[[], bool], drop: Callable[[_T], None]) -> _T:
    """What `work` gives or raises; InterruptedRun when `stop` says so before it is done.

    It goes on in a thread of its own then, which nobody waits for; `drop` is given what comes of it.
    """
    future: Future[_T] = Future()
    threading.Thread(target=_fulfil, args=(future, work), name="connect", daemon=True).start()
    try:
        while not wait([future], LOOK).done:
            if stop():
                raise InterruptedRun()
    except BaseException:
        future.add_done_callback(lambda late: None if late.exception() else drop(late.result()))
        raise
    return future.result()


def _fulfil(future: Future[_T], work: Callable[[], _T]) -> None:
    try:
        future.set_result(work())
    except BaseException as exc:
        future.set_exception(exc)

"""What stands in for the reader of documents: it does to its process whatever a document says."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time

from archiver.attachments.process import Outcome, Task, read_document


def obey(task: Task) -> Outcome:
    """As `read_document`, but for documents that are an order."""
    order, _, rest = task.data.partition(b":")
    match order:
        case b"crash":
            ctypes.string_at(0)
        case b"kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case b"hang":
            while True:
                time.sleep(1)
        case b"once" if not os.path.exists(rest):
            os.close(os.open(rest, os.O_CREAT))
            os.kill(os.getpid(), signal.SIGTERM)
        case b"absent":
            path = rest.partition(b":")[2]
            return Outcome("present" if os.path.exists(path) else "absent")
        case b"slow":
            time.sleep(float(rest))
            return Outcome(f"slow {os.getpid()}")
        case b"stay":
            threading.Thread(target=time.sleep, args=(float(rest),)).start()
            return Outcome("stays", worn=True)
        case b"note":
            os.mkdir(rest + b"/%d" % time.monotonic_ns())
            return Outcome("noted")
    return read_document(task)

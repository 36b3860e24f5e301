"""Runs one command and prints what it took, as JSON: the child of `common.measure`.

A process starts its life with its parent's peak memory on its account, so the parent must be small: this one
imports little, and is run with `-I -S`.
"""

import json
import os
import resource
import sys
import time


def main() -> None:
    command = sys.argv[1:]
    nowhere = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    started = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ, file_actions=nowhere)
    _, status = os.waitpid(child, 0)
    wall = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    facts = {
        "wall": wall,
        "cpu": used.ru_utime + used.ru_stime,
        "memory": used.ru_maxrss * 1024,
        "status": os.waitstatus_to_exitcode(status),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()

"""`python -m demo`: the guided run; `python -m demo serve`: its servers once more."""

from __future__ import annotations

import argparse
import importlib.util
import io
import logging
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0, the failing step's own, 2 when the demo cannot begin, 130 after Ctrl-C."""
    options = _parser().parse_args(argv)
    missing = [name for name in ("aiosmtpd", "pymap") if importlib.util.find_spec(name) is None]
    if missing:
        return _stopped(
            f"{' and '.join(missing)} not installed: run `make demo`, or pip install '.[demo]'", 2
        )
    from demo.directory import DemoError, Directory
    from demo.run import run, serve

    # aiosmtpd warns at each login of a deprecated attribute that it sets itself.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a name shows question marks
    directory = Directory(options.directory)
    try:
        serve(directory) if options.action == "serve" else run(directory)
    except DemoError as error:
        return _stopped(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _stopped("interrupted", 130)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Run archiver's main job on two mail servers started for it, on this machine only.",
    )
    actions = "run: the guided tour (default); serve: its two servers again, until Ctrl-C"
    parser.add_argument("action", nargs="?", choices=("run", "serve"), default="run", help=actions)
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("demo-archive"),
        help="where everything is kept (default: %(default)s)",
    )
    return parser


def _stopped(reason: str, exit_code: int) -> int:
    sys.stdout.flush()
    print(f"\nThe demo stopped: {reason}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())

"""What the benchmarks share: options, a place to work in, one measured command, how figures are printed."""

from __future__ import annotations

import argparse
import compileall
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import archiver as archiver_package
from tests.servers import dovecot

ARCHIVER = Path(sys.executable).parent / "archiver"
PASSWORD_VARIABLE = "BENCH_PASSWORD"
TMPFS = Path("/dev/shm")


@dataclass(frozen=True)
class Run:
    """One finished command: seconds of wall clock and of CPU (its children too), bytes of peak memory.

    Memory is that of the largest process among the command and its children, not their sum.
    """

    wall: float
    cpu: float
    memory: int


def arguments(description: str) -> argparse.ArgumentParser:
    """The options every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("/var/tmp"),
        help="where the archives are made, on a disk (default: %(default)s)",
    )
    return parser


def compiled() -> None:
    """Have our own program compiled, as installed."""
    compileall.compile_dir(str(Path(archiver_package.__file__).parent), quiet=1)


def require(*programs: tuple[str, str]) -> None:
    """End with a clear line when Dovecot or a program is not there; have our own compiled, as installed."""
    compiled()
    try:
        dovecot.check_version()
    except dovecot.MissingServerError as error:
        sys.exit(str(error))
    for program, package in programs:
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed: apt install {package}")


@contextlib.contextmanager
def workplace(root: Path) -> Iterator[Path]:
    """An empty directory under `root`, removed at the end."""
    if not root.is_dir():
        sys.exit(f"there is no directory {root}")
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=root))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def measure(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, allowed: Sequence[int] = (0,)
) -> Run:
    """Run a command to its end, its output thrown away; a failure ends the benchmark with what it said."""
    launch = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py"))]
    done = subprocess.run(
        [*launch, *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    facts = json.loads(done.stdout or "{}")
    status = facts.get("status", done.returncode)
    if status not in allowed or "wall" not in facts:
        said = done.stderr.decode(errors="replace")[-2000:]
        sys.exit(f"{' '.join(command)} ended with {status}:\n{said}")
    return Run(facts["wall"], facts["cpu"], facts["memory"])


def archiver_config(
    user: dovecot.User, directory: Path, port: int, settings: Mapping[str, str] | None = None
) -> Path:
    """A configuration with one account, `bench`, and its archive under `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "config.yaml"
    path.write_text(
        f"archive: {directory / 'archive'}\n"
        "accounts:\n"
        "  bench:\n"
        "    imap:\n"
        f"      host: {user.server.host}\n"
        f"      port: {port}\n"
        "      security: none\n"
        f"      user: {user.name}\n"
        f"      password: {{env: {PASSWORD_VARIABLE}}}\n"
        + "".join(f"      {name}: {value}\n" for name, value in (settings or {}).items()),
        encoding="utf-8",
    )
    return path


def archiver(config: Path, *verb: str) -> list[str]:
    if not ARCHIVER.exists():
        sys.exit(f"{ARCHIVER} is not installed: make bench, or pip install -e .")
    return [str(ARCHIVER), "--config", str(config), *verb]


def heading(subject: str) -> None:
    """A subject's title, with what else the machine is doing."""
    print(f"\n{subject}\n  load average {load()}", flush=True)


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def step(name: str, run: Run) -> Run:
    """Tell of one finished run at once: the whole takes minutes."""
    print(f"    {name:<24}{run.wall:7.2f} s {run.cpu:7.2f} s CPU   load {load()}", flush=True)
    return run


def table(runs: Mapping[str, Sequence[Run]], count: int) -> None:
    """Medians of each; `least` is the quickest of them, which noise touches least."""
    print(f"  {'medians':<24}{'wall':>9}{'least':>9}{'msg/s':>9}{'CPU':>9}{'least':>9}{'memory':>9}")
    for name, each in runs.items():
        walls, cpus = [run.wall for run in each], [run.cpu for run in each]
        wall, cpu = statistics.median(walls), statistics.median(cpus)
        peak = max(run.memory for run in each)
        memory = f"{peak / (1 << 20):.0f} MiB" if peak else ""
        print(
            f"  {name:<24}{wall:7.2f} s{min(walls):7.2f} s{count / wall:9.0f}"
            f"{cpu:7.2f} s{min(cpus):7.2f} s{memory:>9}"
        )


def ratio(theirs: Sequence[Run], ours: Sequence[Run]) -> float:
    """Their wall time in parts of ours: the median of the rounds, since the machine changes between them."""
    return statistics.median(t.wall / o.wall for t, o in zip(theirs, ours, strict=True))


def verdict(figure: str, target: str, met: bool) -> None:
    print(f"  {figure}\n      target: {target}: {'met' if met else 'MISSED'}", flush=True)


def megabytes(size: float) -> str:
    return f"{size / 1e6:.0f} MB"

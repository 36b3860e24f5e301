"""How the program is started."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

from archiver import __version__


def python(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


def test_as_a_module() -> None:
    assert python("-m", "archiver", "--version") == f"archiver, version {__version__}\n"


def test_what_every_worker_imports_again_is_next_to_nothing() -> None:
    """multiprocessing imports the program's main module in each process it spawns."""
    (script,) = entry_points(group="console_scripts", name="archiver")
    assert script.value == "archiver.__main__:main"
    code = "import json, sys; before = set(sys.modules); import archiver.__main__"
    told = python("-c", f"{code}; print(json.dumps(sorted(set(sys.modules) - before)))")
    assert set(json.loads(told)) <= {"archiver", "archiver.__main__", "__future__"}

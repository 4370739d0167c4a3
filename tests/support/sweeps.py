"""Specs of small sweeps, and the command that runs them in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

from support.commands import in_process

SMALL = """
schema = 1
[axes]
network = "alexnet"
batch = 128
gpu = "titan-x-maxwell"
policy = ["vdnn-all(p)", "vdnn-dyn", "oracle"]
link_bandwidth = { from = "4 GB/s", to = "40 GB/s", count = 10 }
compute_scale = [0.5, 1, 2.5]
"""
"""90 points in two parts."""
MANY = """
schema = 1
[axes]
network = "googlenet"
batch = 128
gpu = "titan-x-maxwell"
link_bandwidth = { from = "4 GB/s", to = "40 GB/s", count = 125 }
"""
"""1000 points, in parts of 64: on the reference engine most of a second."""
MANY_POINTS = 1000
COMMAND = (sys.executable, "-c", "from vdnnsim.cli import main; main()")
AT_ONCE = "from vdnnsim.sweep import local; local._ALONE_S = 0"
"""Python that lets a sweep start its workers at once: on a fast machine it would be through without them."""


def write_spec(folder: Path, text: str, name: str = "spec.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def start(*arguments: object, interrupts: signal.Handlers = signal.SIG_DFL) -> subprocess.Popen[str]:
    """`vdnnsim` with these arguments, as the leader of a process group of its own, with this handling of Ctrl-C: that
    of the tests themselves may be to ignore it, as under nohup. Its workers are started at once."""
    command = [*COMMAND[:2], f"{AT_ONCE}; {COMMAND[2]}", *(str(argument) for argument in arguments)]
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
        preexec_fn=partial(signal.signal, signal.SIGINT, interrupts),
    )


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `vdnnsim` with these arguments, in this process; `start` takes one of its own."""
    done = in_process([str(argument) for argument in arguments])
    return done.code, done.out, done.err

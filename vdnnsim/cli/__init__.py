"""The command line: words to calls, nothing else."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from vdnnsim.cli.ends import run_to_the_end


def main() -> None:
    """Run the command line and end the process; see `run_to_the_end`."""
    if "" not in sys.path:
        sys.path.append("")  # where module:Class finds a module; last, so that no file there hides a library
    run_to_the_end("vdnnsim", _app)


def _app() -> None:
    _command()(prog_name="vdnnsim")


@cache
def _command() -> Any:
    """The commands as Typer reads them from their functions, which takes as long as a small comparison: once for all
    that this process runs."""
    from typer.main import get_command

    from vdnnsim.cli.app import app

    return get_command(app)

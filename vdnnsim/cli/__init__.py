"""The command line: words to calls, nothing else."""

from __future__ import annotations

import sys

from vdnnsim.cli.ends import run_to_the_end


def main() -> None:
    """Run the command line and end the process; see `run_to_the_end`."""
    if "" not in sys.path:
        sys.path.append("")  # where module:Class finds a module; last, so that no file there hides a library
    run_to_the_end("vdnnsim", _app)


def _app() -> None:
    from vdnnsim.cli.app import app

    app()

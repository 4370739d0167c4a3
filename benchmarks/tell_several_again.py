"""Host, table and figure of a report of several GPUs, anew from what it stored: where simulation or figure changed.

python benchmarks/tell_several_again.py [FOLDER]

The folder has the report's list as cases.toml. Nothing is measured, and no GPU is needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vdnnsim.calibration.cases import read_cases
from vdnnsim.calibration.several.records import read_stored
from vdnnsim.calibration.several.report import RESULTS, draw, tell

FOLDER = Path(__file__).parents[1] / "experiments" / "calibration" / "two-gpus"


def main(folder: Path = FOLDER) -> None:
    """Write the three files."""
    draw(folder, tell(folder, read_cases(folder / "cases.toml"), read_stored(folder / RESULTS)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

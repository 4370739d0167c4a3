"""Runs the whole evaluation for one GPU and keeps what came out: the numbers of every figure and claim under
`experiments/expected`, and the tables in `experiments/README.md`. Where the GPU was calibrated, that report's figure is
drawn anew from its stored results.

    python experiments/run.py [GPU]
"""

import sys
import tempfile
from pathlib import Path

from marked import write_table
from vdnnsim import calibration_figure, read_records
from vdnnsim_paper import reproduce
from vdnnsim_paper.same_shape import CHECKS, check_same_shape, same_shape_markdown
from vdnnsim_paper.then_and_now import NOW, THEN, compare_gpus, then_and_now_markdown

FOLDER = Path(__file__).resolve().parent


def run(gpu: str) -> None:
    """Measure, and replace the expected numbers and the README's tables by the new ones."""
    expected = FOLDER / "expected" / gpu
    expected.mkdir(parents=True, exist_ok=True)
    tables = {}
    for figures in ((), ("rules",)) if gpu == THEN else ((),):
        with tempfile.TemporaryDirectory() as temporary:
            for path in reproduce(figures, gpu=gpu, out=Path(temporary)).files:
                if path.suffix == ".csv":
                    (expected / path.name).write_bytes(path.read_bytes())
                elif path.suffix == ".md":
                    tables[path.stem] = path.read_text(encoding="utf-8")
    tables = {f"{name} {gpu}": table for name, table in tables.items()}
    if gpu == NOW:
        tables["then and now"] = then_and_now_markdown(compare_gpus())
        tables["same shape"] = same_shape_markdown([check_same_shape(check) for check in CHECKS])
    for name, table in tables.items():
        write_table(FOLDER / "README.md", name, table)
    calibration = FOLDER / "calibration" / gpu
    if calibration.is_dir():
        calibration_figure(read_records(calibration / "results.json"), calibration / "errors.png")


if __name__ == "__main__":
    run(sys.argv[1] if len(sys.argv) > 1 else THEN)

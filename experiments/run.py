"""Runs the whole evaluation for one GPU and keeps what came out: the numbers of every figure and claim under
`experiments/expected`, and the tables in `experiments/README.md`. Where the GPU was calibrated, that report's figure is
drawn anew from its stored results.

    python experiments/run.py [GPU]
"""

import re
import sys
import tempfile
from pathlib import Path

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
    readme = FOLDER / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, table in tables.items():
        text = with_table(text, f"{name} {gpu}", table)
    if gpu == NOW:
        text = with_table(text, "then and now", then_and_now_markdown(compare_gpus()))
        text = with_table(text, "same shape", same_shape_markdown([check_same_shape(check) for check in CHECKS]))
    readme.write_text(text, encoding="utf-8", newline="\n")
    calibration = FOLDER / "calibration" / gpu
    if calibration.is_dir():
        calibration_figure(read_records(calibration / "results.json"), calibration / "errors.png")


def with_table(text: str, name: str, table: str) -> str:
    """The text with the table between the marks of this name."""
    marks = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)"
    replaced, places = re.subn(marks, lambda found: f"{found[1]}{table}{found[2]}", text, flags=re.DOTALL)
    if places != 1:
        sys.exit(f"README.md: found {places} places marked '<!-- {name} -->' to '<!-- end -->', expected one")
    return replaced


if __name__ == "__main__":
    run(sys.argv[1] if len(sys.argv) > 1 else THEN)

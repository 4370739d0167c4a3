r"""DTR's logs replayed, by bytes and with addresses, beside what simrd itself makes of them where it is installed.

vdnnsim import resnet32.log --out resnet32            # the logs come with simrd, in logs.zip
python experiments/replay/logs.py resnet32 unet --out vdnnsim.csv
PYTHONPATH=dtr-prototype/simrd python experiments/replay/logs.py resnet32 unet \
    --simrd resnet32.log unet.log --out simrd.csv

simrd is the directory of that name in uwsampl/dtr-prototype (eff53cc4), which needs attrs; it is run as its paper ran
it: runtime v2 with eager eviction, given up past twice the time; the CPU time of both is printed.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib
import io
import time
from pathlib import Path
from typing import Any

from vdnnsim import write_text
from vdnnsim.replay import LIMIT, SHARES, compare_replays, read_log

MEMORIES = ("bytes", "best-fit", "pytorch-caching")
SIMRD = {"dtr": "DTR", "dtr-classes": "DTREqClass", "local": "DTRLocal", "lru": "LRU"}
"""Its names for our heuristics."""


def replayed(folder: Path) -> list[dict[str, Any]]:
    """Every heuristic, memory and budget of a log."""
    return list(compare_replays(read_log(folder), tuple(SIMRD), MEMORIES).rows())


def beside_simrd(folder: Path, log_file: Path) -> list[dict[str, Any]]:
    """Each overhead as simrd works it out, empty where it does not come to its end. Prints what it and we take."""
    runtime, heuristic, parse = (importlib.import_module(f"simrd.{name}") for name in ("runtime", "heuristic", "parse"))
    log = read_log(folder)
    opened: Any = gzip.open if log_file.suffix == ".gz" else open
    with opened(log_file, "rt", encoding="utf-8") as lines:
        graph = parse.parse_file(lines)
    run, own_ns = graph.get_closure(), graph.meta["compute"]
    rows = []
    for name, theirs in SIMRD.items():
        begin_s = time.process_time()
        for share in SHARES:
            one = runtime.RuntimeV2EagerOptimized(
                int(log.peak_bytes * share),
                getattr(heuristic, theirs)(),
                stats=False,
                trace=False,
                remat_limit=own_ns * (LIMIT - 1),
            )
            row = {"program": log.name, "heuristic": name, "budget_bytes": one.budget, "outcome": "done"}
            try:
                run(one)
            except MemoryError:
                row |= {"outcome": "no room"}
            except RuntimeError:
                row |= {"outcome": "over the limit"}
            rows.append(row | {"overhead": (one.clock - 1) / own_ns if row["outcome"] == "done" else ""})
        their_s, begin_s = time.process_time() - begin_s, time.process_time()
        compare_replays(log, [name])
        our_s = time.process_time() - begin_s
        print(f"{log.name} {name}: simrd {their_s:.2f} s, vdnnsim {our_s:.2f} s of CPU")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="logs, as 'vdnnsim import' writes them")
    parser.add_argument("--simrd", nargs="+", type=Path, help="their files, to run simrd on in place of vdnnsim")
    parser.add_argument("--out", type=Path, required=True, help="the table to write")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if given.simrd:
        for folder, file in zip(given.folders, given.simrd, strict=True):
            rows += beside_simrd(folder, file)
    else:
        for folder in given.folders:
            rows += replayed(folder)
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(given.out, text.getvalue())


if __name__ == "__main__":
    main()

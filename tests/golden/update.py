"""The golden results, all of them (six minutes of one core): `python tests/golden/update.py --check [TRACE...]` says
which differ, and without `--check` they are recorded anew.

The latter is for changes that are meant to change results, and only then; the commit says why they changed.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from support import golden_digests  # noqa: E402
from support.golden import FILE, all_results, changes, recorded  # noqa: E402
from support.golden_digests import Digests, Row  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="record nothing; 1 where something differs")
    parser.add_argument("traces", nargs="*", metavar="TRACE", help="these alone, as h100/alexnet")
    arguments = parser.parse_args()
    if arguments.traces and not arguments.check:
        parser.error("TRACE: found without --check, and what is recorded is recorded whole")
    results = recorded() if arguments.traces else all_results()
    digests = _digests([trace for trace in golden_digests.shipped() if trace.startswith(tuple(arguments.traces) or "")])
    found = changes(recorded(), results) + _otherwise(digests)
    print("\n".join(found) or "nothing changed")
    if arguments.check:
        return int(bool(found))
    FILE.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    golden_digests.record(digests)
    return 0


def _digests(traces: list[str]) -> dict[Row, Digests]:
    """Of the settings that are recorded; a trace that is not gets its own."""
    settings: dict[str, list[str]] = {}
    for row in golden_digests.recorded():
        settings.setdefault(row.trace, []).append(row.setting)
    rows = [
        Row(trace, setting) for trace in traces for setting in settings.get(trace) or golden_digests.settings_of(trace)
    ]
    with ProcessPoolExecutor() as executor:
        return dict(zip(rows, executor.map(golden_digests.digests_of, rows, chunksize=4), strict=True))


def _otherwise(digests: dict[Row, Digests]) -> list[str]:
    """What differs from what is recorded, one line for each trace and setting."""
    before = golden_digests.recorded()
    lines = []
    for row, by_policy in digests.items():
        changed = {name: before.get(row, {}).get(name, "/") for name in by_policy}
        changed = {name: old for name, old in changed.items() if old != by_policy[name]}
        run = [name for name, old in changed.items() if old.split("/")[0] != by_policy[name].split("/")[0]]
        told = [f"{name} {'runs' if name in run else 'counts'} otherwise" for name in changed]
        if told:
            lines.append(f"{row.trace} {row.setting}: {', '.join(told)}")
    return lines


if __name__ == "__main__":
    sys.exit(main())

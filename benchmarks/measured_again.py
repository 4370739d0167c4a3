"""Every case that was measured on an H100, predicted once more from what was captured there; compared to the byte and
the nanosecond with what is stored.

python benchmarks/measured_again.py
python benchmarks/measured_again.py --model unet_b32 --write

experiments/pytorch/h100/ has the cases (results.json, table.md), the link as it was then (link.toml), what
`offload_ways.py` printed there, and the memory in which each case's steps began (memory_MODEL.json.gz: segments, and
where what is there before a step lies). The captured steps came along with vdnnsim (traces/h100/captured). `--write`
stores what is predicted now beside what was measured.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from vdnnsim import CapturedStep, read_step
from vdnnsim.calibration.step_records import Prediction, StepRecord, read_step_records, records_text, table_of
from vdnnsim.captured.shipped import shipped_steps
from vdnnsim.captured.step import BEFORE_STEP, AllocatorSegment
from vdnnsim.files import write_text
from vdnnsim.gpu import read_profile
from vdnnsim.pytorch.as_found import predicted_in
from vdnnsim.pytorch.measuring import predicted

HERE = Path(__file__).parents[1] / "experiments" / "pytorch" / "h100"
RESULTS = HERE / "results.json"


@cache
def captured(model: str) -> CapturedStep:
    """The step that the cases of a model are of."""
    return read_step(shipped_steps()[model])


@cache
def _memories(model: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress((HERE / f"memory_{model}.json.gz").read_bytes()))
    return found


def conditions() -> dict[str, str]:
    """How they were measured."""
    found: dict[str, str] = json.loads(RESULTS.read_text(encoding="utf-8"))["conditions"]
    return found


def begun(model: str, policy: str) -> CapturedStep:
    """The step, beginning in the memory in which the case's steps began."""
    step, memory = captured(model), _memories(model)[policy]
    there = [number for number, block in enumerate(step.blocks) if block.taken == BEFORE_STEP]
    blocks = list(step.blocks)
    for number, (address, held_bytes) in zip(there, memory["blocks"], strict=True):
        blocks[number] = blocks[number]._replace(address=address, held_bytes=held_bytes)
    segments = (AllocatorSegment(address, size, bool(small)) for address, size, small in memory["segments"])
    return replace(step, blocks=tuple(blocks), segments=tuple(segments))


def predicted_again(record: StepRecord) -> Prediction:
    """What is predicted of a stored case today."""
    model, policy = record.predicted.model, record.policy
    ((prediction, plan),) = predicted(captured(model), read_profile(HERE / "link.toml"), [policy])
    return predicted_in(begun(model, policy), prediction, plan)


def differing(records: list[StepRecord]) -> Iterator[tuple[StepRecord, Prediction]]:
    """The cases of which something else is predicted today, with what."""
    for record in records:
        now = predicted_again(record)
        if now != record.predicted:
            yield record, now


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="the cases of this one alone")
    parser.add_argument("--write", action="store_true", help="store what is predicted now")
    asked = parser.parse_args(arguments)
    records = list(read_step_records(RESULTS))
    wanted = [one for one in records if asked.model in (None, one.group)]
    changed = {(one.group, one.policy): now for one, now in differing(wanted)}
    for (model, policy), now in changed.items():
        print(f"{model} {policy}: {now}")
    if asked.write:
        records = [replace(one, predicted=changed.get((one.group, one.policy), one.predicted)) for one in records]
        write_text(RESULTS, records_text(records, conditions()))
        write_text(HERE / "table.md", table_of(records, conditions()))
    print(f"{len(wanted) - len(changed)} of {len(wanted)} cases as stored")
    return 1 if changed and not asked.write else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

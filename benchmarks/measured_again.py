"""Every case that was measured on an H100 and an H200, predicted once more from what was captured there; compared to
the byte and the nanosecond with what is stored.

python benchmarks/measured_again.py
python benchmarks/measured_again.py --gpu h200 --model unet_b32 --write

experiments/pytorch/GPU/ has the cases (results.json, table.md), the link as it was then (link_MACHINE.toml), and the
memory in which each case's steps began (memory_MODEL.json.gz: segments, and where what is there before a step lies);
also what `offload_ways.py` printed there. The captured steps came along with vdnnsim (traces/GPU/captured).
`--write` stores what is predicted now beside what was measured.
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
from vdnnsim.captured.step import BEFORE_STEP, AllocatorSegment
from vdnnsim.files import write_text
from vdnnsim.gpu import read_profile
from vdnnsim.pytorch.as_found import predicted_in
from vdnnsim.pytorch.measuring import predicted

GPUS = ("h100", "h200")
ROOT = Path(__file__).parents[1]


def folder_of(gpu: str) -> Path:
    """What was measured on this GPU."""
    return ROOT / "experiments" / "pytorch" / gpu


def results_of(gpu: str) -> Path:
    """Its cases."""
    return folder_of(gpu) / "results.json"


@cache
def captured(gpu: str, model: str) -> CapturedStep:
    """The step that the cases of a model are of."""
    return read_step(ROOT / "traces" / gpu / "captured" / model)


@cache
def _memories(gpu: str, model: str) -> dict[str, Any]:
    packed = (folder_of(gpu) / f"memory_{model}.json.gz").read_bytes()
    found: dict[str, Any] = json.loads(gzip.decompress(packed))
    return found


def conditions(gpu: str) -> dict[str, str]:
    """How they were measured."""
    found: dict[str, str] = json.loads(results_of(gpu).read_text(encoding="utf-8"))["conditions"]
    return found


def begun(record: StepRecord) -> CapturedStep:
    """The step, beginning in the memory in which the case's steps began."""
    step, memory = captured(record.gpu, record.group), _memories(record.gpu, record.group)[record.policy]
    there = [number for number, block in enumerate(step.blocks) if block.taken == BEFORE_STEP]
    blocks = list(step.blocks)
    for number, (address, held_bytes) in zip(there, memory["blocks"], strict=True):
        blocks[number] = blocks[number]._replace(address=address, held_bytes=held_bytes)
    segments = (AllocatorSegment(address, size, bool(small)) for address, size, small in memory["segments"])
    return replace(step, blocks=tuple(blocks), segments=tuple(segments))


def predicted_again(record: StepRecord) -> Prediction:
    """What is predicted of a stored case today."""
    profile = read_profile(folder_of(record.gpu) / f"link_{record.machine}.toml")
    ((prediction, plan),) = predicted(captured(record.gpu, record.group), profile, [record.policy])
    return predicted_in(begun(record), prediction, plan)


def differing(records: list[StepRecord]) -> Iterator[tuple[StepRecord, Prediction]]:
    """The cases of which something else is predicted today, with what."""
    for record in records:
        now = predicted_again(record)
        if now != record.predicted:
            yield record, now


def again(gpu: str, model: str | None, write: bool) -> int:
    """Tells which cases of a GPU are predicted otherwise today; returns how many."""
    records = list(read_step_records(results_of(gpu)))
    wanted = [one for one in records if model in (None, one.group)]
    changed = {(one.group, one.policy): now for one, now in differing(wanted)}
    for (group, policy), now in changed.items():
        print(f"{gpu} {group} {policy}: {now}")
    if write:
        records = [replace(one, predicted=changed.get((one.group, one.policy), one.predicted)) for one in records]
        write_text(results_of(gpu), records_text(records, conditions(gpu)))
        write_text(folder_of(gpu) / "table.md", table_of(records, conditions(gpu)))
    print(f"{gpu}: {len(wanted) - len(changed)} of {len(wanted)} cases as stored")
    return len(changed)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", choices=GPUS, help="the cases of this one alone")
    parser.add_argument("--model", help="the cases of this one alone")
    parser.add_argument("--write", action="store_true", help="store what is predicted now")
    asked = parser.parse_args(arguments)
    changed = [again(gpu, asked.model, asked.write) for gpu in GPUS if asked.gpu in (None, gpu)]
    return 1 if any(changed) and not asked.write else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

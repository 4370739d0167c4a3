"""Every model of a list captured, predicted, and trained by every plan; cut where you like, the same command goes on.

python experiments/pytorch/measure.py --gpu h100 --out DIR --seconds 560
python experiments/pytorch/measure.py --gpu h100 --out DIR --only unet_b32 --only 'unet_b32 within 0.7'

A part of the list is a model, or a model within a share of its memory; each runs in a process of its own. DIR gets the
folder of each captured step, the link as measured, results.json with every case as soon as it was measured, table.md
and a figure; parts.json says which parts are done and which failed. Parts done on another machine stay as they are:
take another folder to measure them again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from vdnnsim import VdnnsimError, read_step, write_text

DONE = "done"
PARTS = "parts.json"
LEAST_S = 30
"""A part is not begun with less time than this."""


class Part(NamedTuple):
    """A model of the list, within a share of the memory that PyTorch reserves for it, or all that there is."""

    name: str
    script: str
    policies: tuple[str, ...]
    share: float | None = None

    @property
    def title(self) -> str:
        return self.name if self.share is None else f"{self.name} within {self.share:g}"


def parts_of(cases: Path) -> list[Part]:
    """All models first, then those that are short of memory, which need to have been captured."""
    listed = tomllib.loads(cases.read_text(encoding="utf-8"))
    models = [(one["name"], str(cases.parent / one["script"])) for one in listed["model"]]
    capped = listed.get("capped", {"shares": []})
    return [Part(*model, tuple(listed["policies"])) for model in models] + [
        Part(*model, tuple(capped["policies"]), share) for share in capped["shares"] for model in models
    ]


def measure_part(part: Part, gpu: str, out: Path, device: str | None) -> None:
    """Raises `VdnnsimError` where it cannot be measured."""
    from vdnnsim.pytorch.reporting import Script, Wanted, make_step_report

    capacity = None
    if part.share is not None:
        capacity = f"{round(part.share * read_step(out / part.name).seen.peak_reserved_bytes)} B"
    wanted = Wanted(Script(part.script), part.name, gpu, part.policies, capacity, device)
    report = make_step_report(wanted, out, lambda done, total, now: print(f"{part.title} {done}/{total}: {now}"))
    if report.failures:
        raise VdnnsimError("; ".join(f"{policy}: {why}" for policy, why in report.failures.items()))


Run = Callable[[Part, float], str]
"""Measures a part within seconds; returns `DONE`, or why it is not."""


def measure_all(parts: list[Part], out: Path, seconds: float, run: Run) -> dict[str, str]:
    """What became of each part that was begun. Parts that are done are not begun again, failed ones are."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / PARTS
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    end = time.monotonic() + seconds
    for part in parts:
        left = end - time.monotonic()
        if left < LEAST_S:
            break
        if found.get(part.title) != DONE:
            found[part.title] = run(part, left)
            write_text(path, json.dumps(found, indent=1) + "\n")
            print(f"{part.title}: {found[part.title]}", flush=True)
    return found


def in_a_process(arguments: list[str]) -> Run:
    """This script again, for one part."""

    def run(part: Part, seconds: float) -> str:
        command = [sys.executable, __file__, *arguments, "--part", part.title]
        # PyTorch asks for it where gradients take deterministic algorithms to be the same twice
        environment = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", **os.environ}
        with subprocess.Popen(command, env=environment) as process:
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.terminate()
                return "cut: out of time; goes on where it was"
        return DONE if code == 0 else f"failed with exit code {code}; its message is above"

    return run


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, default=Path(__file__).with_name("cases.toml"))
    parser.add_argument("--gpu", required=True, help="the profile; its link is measured anew")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", help="cuda or cpu")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no part runs longer than until then")
    parser.add_argument("--only", action="append", help="the title of a part; may be given several times")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    parts = {part.title: part for part in parts_of(asked.cases)}
    wanted = [asked.part] if asked.part else asked.only or list(parts)
    if unknown := set(wanted) - set(parts):
        parser.error(f"--only: found {', '.join(sorted(unknown))}, expected some of: {', '.join(parts)}")
    if asked.part:
        try:
            measure_part(parts[asked.part], asked.gpu, asked.out, asked.device)
        except VdnnsimError as error:
            print(f"{asked.part}: {error}", file=sys.stderr)
            return 2
        return 0
    found = measure_all([parts[title] for title in wanted], asked.out, asked.seconds, in_a_process(arguments))
    return 0 if all(found.get(title) == DONE for title in wanted) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

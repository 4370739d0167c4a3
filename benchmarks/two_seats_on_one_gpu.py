"""`calibrate report --gpus 2` with both processes on one GPU, for who has one only. Its times say nothing: two contexts
take turns on the card, and share its one link. What it shows is that all else works there: processes that open a card
each, with cores and pinned memory of their own; copies and iterations that begin at one moment of the host's clock;
looks at cores, link and clocks around them; bytes and addresses; and what is left when a process is killed.

python benchmarks/two_seats_on_one_gpu.py --out DIR [--device cpu] [--gpu 0]

About two minutes on an H200. DIR receives what such a report leaves. Exit code 1 where a check fails.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing import active_children
from pathlib import Path

from vdnnsim.calibration.cases import read_cases
from vdnnsim.calibration.several.messages import Card
from vdnnsim.calibration.several.placing import own_cores
from vdnnsim.calibration.several.report import SeveralReport, make_several_report
from vdnnsim.calibration.several.seat import Seat, open_seat
from vdnnsim.crew import Crew
from vdnnsim.errors import VdnnsimError

NETWORK = """schema = 1
name = "two-convs"
input = [3, 64, 64]
layer = [
  { name = "conv1", kind = "CONV", channels = 16, kernel = 3, padding = 1 },
  { name = "relu1", kind = "ACTV" },
  { name = "conv2", kind = "CONV", channels = 16, kernel = 3, padding = 1 },
  { name = "relu2", kind = "ACTV" },
  { name = "fc3", kind = "FC", channels = 10 },
  { name = "softmax", kind = "SOFTMAX" },
]
"""
CASES = """schema = 1
gpu = "one-card"
[[case]]
network = "network.toml"
batch = 8
policies = ["baseline(p)", "vdnn-all(p)"]
limited = {}
"""
_SAME_BYTES = 100 << 20
_SAME_MOMENT_NS = 1_000_000


def two_seats(device: str, gpu: str) -> Crew:
    """Both on this card."""
    visible = [gpu if device == "cuda" else None] * 2
    cores = own_cores(visible)
    makes: dict[str, Callable[[], Seat]] = {
        f"seat {number}": partial(open_seat, device, number, visible[number], cores[number]) for number in range(2)
    }
    return Crew(makes)


def free_bytes(crew: Crew) -> int:
    """What is free on the card beside both processes, when both have opened it."""
    crew.ask_all("card")
    card: Card = crew.ask(0, "card")
    return card.free_bytes


def checks_of(report: SeveralReport, is_gpu: bool) -> Iterator[tuple[str, bool]]:
    """What holds whatever the times are; a CPU's cores are those that also do the work."""
    yield f"no network failed: {dict(report.failures)}", not report.failures
    yield "bytes and addresses are equal in all", all(one.equal for one in report.cases)
    together = [one.delay_ns for one in report.cases if one.start == "together"]
    yield f"iterations begin together: {together} ns apart", not is_gpu or max(map(abs, together)) < _SAME_MOMENT_NS
    yield "every combination of copies was under way at once", len({one.streams for one in report.streams}) == 15


def check(what: str, holds: bool) -> bool:
    """Print it."""
    print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)
    return holds


def killed(crew: Crew) -> str:
    """What is told where the second process is killed in a call."""
    second = next(child for child in active_children() if child.name == "seat 1")
    assert second.pid is not None
    crew.ask_all("prepare_streams")
    os.kill(second.pid, signal.SIGKILL)
    try:
        crew.ask_all("settle")
    except VdnnsimError as error:
        return str(error)
    return "nothing"


def main(arguments: Sequence[str]) -> int:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--gpu", default="0", help="its number in the order of the bus")
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "network.toml").write_text(NETWORK, encoding="utf-8")
    (asked.out / "cases.toml").write_text(CASES, encoding="utf-8")
    begun = time.monotonic()

    def tell(_done: int, _total: int, now: str) -> None:
        print(f"[{time.monotonic() - begun:5.0f} s] {now}", flush=True)

    good = True
    with two_seats(asked.device, asked.gpu) as crew:
        good &= check(f"nothing else on the card: {crew.ask_all('card')}", True)
        before = free_bytes(crew)
        report = make_several_report(crew, read_cases(asked.out / "cases.toml"), asked.out, tell)
    for what, holds in checks_of(report, asked.device == "cuda"):
        good &= check(what, holds)
    with two_seats(asked.device, asked.gpu) as crew:
        told = killed(crew)
    good &= check(f"a process that is killed: {told}", told.startswith("seat 1 ended with code -9"))
    good &= check(f"no process is left: {active_children()}", not active_children())
    with two_seats(asked.device, asked.gpu) as crew:
        after = free_bytes(crew)
    good &= check(
        f"all memory is given back: {after} of {before} bytes", asked.device == "cpu" or after > before - _SAME_BYTES
    )
    print((asked.out / "table.md").read_text(encoding="utf-8"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

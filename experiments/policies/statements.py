"""What the authors of later policies state, beside ours: how much faster an iteration is than under vDNN.

python experiments/policies/statements.py --out experiments/policies/statements.csv    # a minute

Networks are those of which there are traces on the Titan X (Maxwell), which are modelled; those of the H100 and H200
are measured. A Titan Xp computes 12.15 TFLOP/s to the Titan X's 6.6 (both recalled), over the same link: that is as a
Titan X behind a link of 7 GB/s. cDMA's average ratio of 2.6, recalled, is a density of 0.353; at initialisation these
networks' maps have 0.54 to 0.57 (`vdnnsim calibrate trace --density` on a CPU).
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from vdnnsim import compare, write_text

TITAN_X, XP_LINK = "titan-x-maxwell", "7GB/s"
NETWORKS = (("alexnet", 128), ("overfeat", 128), ("googlenet", 128), ("vgg16", 64))
LINKS = tuple(f"{rate}GB/s" for rate in (4, 6, 8, 12, 16, 24, 32))
VDNN, VDNN_PLUS_PLUS = "vdnn-all(p)", "vdnn++"
CDMA, CDMA_AT_FIRST = "cdma(vdnn-all(p), density=0.353)", "cdma(vdnn-all(p), density=0.556)"
ROOMY = "400GB"


class Statement(NamedTuple):
    """What a paper states, what it is held against, and ours, in per cent; `at` is where the largest was found."""

    policy: str
    paper: str
    setting: str
    ours_percent: float
    at: str = ""


def gain(policy: str, network: str, batch: int, gpu: str, link: str | None = None) -> float:
    """How much faster than vDNN's an iteration is, in per cent."""
    vdnn, other = compare(network, batch=batch, gpu=gpu, link_bandwidth=link, capacity=ROOMY, policies=[VDNN, policy])
    return 100 * (vdnn.iteration_time_ns / other.iteration_time_ns - 1)


def largest(policy: str, paper: str, setting: str, gpu: str, links: Sequence[str | None]) -> Statement:
    found = {
        f"{network}{f', {link}' if link else ''}": gain(policy, network, batch, gpu, link)
        for network, batch in NETWORKS
        for link in links
    }
    at = max(found, key=lambda name: found[name])
    return Statement(policy, paper, setting, round(found[at], 1), at)


def average(policy: str, paper: str, setting: str, gpu: str, link: str | None = None) -> Statement:
    over = mean(gain(policy, network, batch, gpu, link) for network, batch in NETWORKS)
    return Statement(policy, paper, setting, round(over, 1))


def statements() -> Iterable[Statement]:
    of_cdma = "53 on average, Titan Xp"
    plus, squeezed = partial(largest, VDNN_PLUS_PLUS, "up to 60"), partial(average, CDMA, of_cdma)
    yield plus("Titan X", TITAN_X, (None,))
    yield plus("Titan X, any link", TITAN_X, LINKS)
    yield plus("H100", "h100", (None,))
    yield plus("H200", "h200", (None,))
    yield squeezed("Titan X", TITAN_X)
    yield squeezed("Titan X as fast as a Titan Xp", TITAN_X, XP_LINK)
    yield average(CDMA_AT_FIRST, of_cdma, "Titan X as fast as a Titan Xp", TITAN_X, XP_LINK)
    yield squeezed("H100", "h100")
    yield squeezed("H200", "h200")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the table to write")
    given = parser.parse_args()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Statement._fields)
    writer.writerows(statements())
    write_text(given.out, text.getvalue())


if __name__ == "__main__":
    main()

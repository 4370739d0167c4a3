"""An iteration's time on a machine whose link is at times slower than it can be.

A burst on the link is shorter than a long iteration, so that waiting for a quiet one would not end. But an iteration
falls into parts that do not depend on each other: each begins when every stream is done. A part with copies that took
longer than the shortest readings of the same part was disturbed, and counts as the undisturbed readings of that part;
all else stays as it came. For that, each part has to be seen undisturbed at times, so that iterations are added while
it was not. Nothing of this looks at a prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from vdnnsim.calibration.samples import MANY, STEADY_PPM, Sample, quiet_ones, sample, undisturbed
from vdnnsim.calibration.watch import HOST, LINK, Seen, Watch
from vdnnsim.machines.real.machine import LoadedProgram
from vdnnsim.program import CopyIn, CopyOut, Program

MOST_TAKEN_OFF_PPM = 100_000
_MOST_UNWITNESSED_PPM = 5_000
_WITNESSES = 2
_MOST_HOST = 0.01
MOST_NEVER_AT_REST_PPM = 50_000


class Iterations(NamedTuple):
    """Repeated iterations: `corrected` without what a slow link added, `plain_ns` the median as they came,
    `taken_off_ppm` how much of an iteration was a slow link, in the median, `unwitnessed_ppm` the share of it in parts
    of which fewer than two readings were undisturbed, `slow_link_ppm` the share of iterations behind which the link's
    reference copy was slow, and `never_at_rest_ppm` how likely it is by that share that a part's shortest reading was
    taken on a slow link as well."""

    corrected: Sample
    plain_ns: int
    taken_off_ppm: int = 0
    unwitnessed_ppm: int = 0
    slow_link_ppm: int = 0
    never_at_rest_ppm: int = 0

    def doubts(self, host_share: float) -> list[str]:
        """Why this is no measurement, where it is none: what was disturbed, and by how much. `host_share` is the share
        of an iteration in the host's calls, which a slow host takes about twice the time for."""
        found = []
        if HOST in self.corrected.disturbed_by and host_share > _MOST_HOST:
            found.append(
                f"host slower than it can be in most iterations; its calls are {100 * host_share:.1f} % of one"
            )
        if self.never_at_rest_ppm > MOST_NEVER_AT_REST_PPM:
            found.append(
                f"link slower than it can be behind {self.slow_link_ppm / 1e4:.0f} % of {self.corrected.repetitions} "
                "iterations, so that parts of them may never have been seen without"
            )
        if self.taken_off_ppm > MOST_TAKEN_OFF_PPM:
            found.append(f"link slower than it can be in {self.taken_off_ppm / 1e4:.1f} % of the iteration")
        if self.unwitnessed_ppm > _MOST_UNWITNESSED_PPM:
            found.append(f"link never at rest in parts of {self.unwitnessed_ppm / 1e4:.1f} % of the iteration")
        if self.corrected.spread_ppm > STEADY_PPM:
            found.append(f"iterations spread by {self.corrected.spread_ppm / 1e4:.1f} %")
        return found


def measure_iterations(
    watch: Watch, loaded: LoadedProgram, repetitions: int, host_share: float, attempts: int = 4
) -> Iterations:
    """Iterations as fast as they go while nothing disturbs them; as many more, up to `attempts` times in all, while
    there are doubts."""
    copying = copying_parts(loaded.program, loaded.parts)
    before = watch.link.looks if copying else 0
    outcomes: list[Seen[Sequence[int]]] = []
    for attempt in range(1, attempts + 1):
        outcomes += [watch.undisturbed(loaded.run_in_parts, 1, link=bool(copying)) for _ in range(repetitions)]
        found = _iterations(watch, outcomes, copying, watch.link.slow_share(before) if copying else 0.0)
        if attempt == attempts or not found.doubts(host_share):
            return found
    raise ValueError(f"attempts: found {attempts}, expected 1 or more")


def _iterations(
    watch: Watch, outcomes: Sequence[Seen[Sequence[int]]], copying: frozenset[int], slow_link: float
) -> Iterations:
    # A slow link is seen in the parts; what counts as disturbed as a whole is what the host was too slow for.
    by_host = [one._replace(disturbed_by=tuple({*one.disturbed_by} - {LINK})) for one in outcomes]
    readings, disturbed_by = quiet_ones(by_host)
    found = corrected(readings, copying, watch.device.slow_link)
    return found._replace(
        corrected=found.corrected._replace(disturbed_by=disturbed_by),
        slow_link_ppm=round(1e6 * slow_link),
        never_at_rest_ppm=round(1e6 * never_at_rest(slow_link, len(readings))),
    )


def never_at_rest(slow_share: float, readings: int) -> float:
    """The probability that the shortest of so many readings which counts as undisturbed was none, see `undisturbed`,
    where each of them is disturbed with this probability for itself."""
    others = readings * (1 - slow_share) * slow_share ** (readings - 1) if readings >= MANY else 0
    return float(slow_share**readings + others)


def together(first: Iterations, second: Iterations) -> Iterations:
    """Two measurements of one program, some time apart, as one: the mean, with how far they differ as a spread."""
    ours, theirs = first.corrected, second.corrected
    mean_ns = (ours.median_ns + theirs.median_ns) // 2
    apart_ppm = round(1e6 * abs(ours.median_ns - theirs.median_ns) / max(1, mean_ns))
    return Iterations(
        Sample(
            mean_ns,
            max(ours.spread_ppm, theirs.spread_ppm, apart_ppm),
            ours.repetitions + theirs.repetitions,
            tuple(sorted({*ours.disturbed_by, *theirs.disturbed_by})),
        ),
        (first.plain_ns + second.plain_ns) // 2,
        max(first.taken_off_ppm, second.taken_off_ppm),
        max(first.unwitnessed_ppm, second.unwitnessed_ppm),
        max(first.slow_link_ppm, second.slow_link_ppm),
        max(first.never_at_rest_ppm, second.never_at_rest_ppm),
    )


def corrected(readings: Sequence[Sequence[int]], copying: frozenset[int], slow: float) -> Iterations:
    """Iterations from the nanoseconds of their parts, of which those numbered in `copying` have copies."""
    totals = [sum(parts) for parts in readings]
    excess_ns = [0] * len(readings)
    unwitnessed_ns = 0.0
    for number, values in enumerate(zip(*readings, strict=True)):
        if number not in copying:
            continue
        kept = undisturbed(values, slow)
        usual_ns = median(kept)
        limit_ns = max(kept)
        if len(kept) < min(_WITNESSES, len(values)):
            unwitnessed_ns += usual_ns
        for index, value_ns in enumerate(values):
            if value_ns > limit_ns:
                excess_ns[index] += round(value_ns - usual_ns)
    shares = [excess / total for excess, total in zip(excess_ns, totals, strict=True)]
    found = sample(total - excess for total, excess in zip(totals, excess_ns, strict=True))
    plain_ns = round(median(totals))
    return Iterations(found, plain_ns, round(1e6 * median(shares)), round(1e6 * unwitnessed_ns / max(1, plain_ns)))


def copying_parts(program: Program, cuts: Sequence[int]) -> frozenset[int]:
    """Which parts of an iteration have copies, when it is cut behind the commands of these indices."""
    copies = [index for index, command in enumerate(program.commands) if isinstance(command, CopyOut | CopyIn)]
    return frozenset(sum(cut < index for cut in cuts) for index in copies)

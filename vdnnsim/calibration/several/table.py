"""Several GPUs at once as a Markdown table: what links carry, and how long iterations take alone and beside others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vdnnsim.calibration.several.records import Start, StartRecord, StreamsRecord


def table_text(streams: Iterable[StreamsRecord], records: Sequence[StartRecord], conditions: Mapping[str, str]) -> str:
    """Both tables, and how they were measured."""
    lines = [
        "| copies at once | GB/s each | spread % |",
        "|---|---|---|",
        *(
            f"| {one.title} | {', '.join(f'{rate / 1e9:.1f}' for rate in one.rates_bytes_per_s)} | "
            f"{max(one.spreads_ppm) / 1e4:.2f} |"
            for one in streams
        ),
        "",
        "| network (batch) | math | policy | start | GPU | measured ms | alone ms | longer % | simulated alone ms | "
        "spread % | begun later ms | can be told | bytes and addresses |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    alone_ns = {(one.case, one.gpu): one.measured_ns for one in records if one.start == Start.ALONE}
    for one in records:
        alone = alone_ns.get((one.case, one.gpu), one.measured_ns)
        lines.append(
            f"| {one.network} ({one.batch}) | {one.math} | {one.policy} | {one.start} | {one.gpu} | "
            f"{one.measured_ns / 1e6:.3f} | {alone / 1e6:.3f} | {100 * (one.measured_ns / alone - 1):+.2f} | "
            f"{one.simulated_alone_ns / 1e6:.3f} | {one.spread_ppm / 1e4:.2f} | {one.delay_ns / 1e6:.3f} | "
            f"{_told(one)} | {'equal' if one.equal else 'DIFFER'} |"
        )
    return "\n".join([*lines, "", *(f"* {key}: {text}" for key, text in conditions.items())]) + "\n"


def summary(records: Sequence[StartRecord]) -> str:
    """How many measurements there are, how many of them say something, and whether bytes and addresses are equal."""
    told = [one for one in records if one.told]
    cases = len({one.case for one in records})
    equal = sum(one.equal for one in records)
    return (
        f"{cases} cases on {len({one.gpu for one in records})} GPUs, {len(records)} iteration times, "
        f"{len(told)} of them can be told; bytes and addresses equal in {equal} of {len(records)}"
    )


def _told(one: StartRecord) -> str:
    if one.disturbed_by:
        return "; ".join(("no", *one.disturbed_by))
    return "yes" if one.told else "no; unsteady"

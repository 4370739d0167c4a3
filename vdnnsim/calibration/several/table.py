"""Several GPUs at once as Markdown tables: what links carry beside what the rule has, and iterations measured beside
simulated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from vdnnsim.calibration.several.host import Rule
from vdnnsim.calibration.several.predictions import NEAR, Predicted
from vdnnsim.calibration.several.records import Start


def table_text(rules: Iterable[Rule], found: Sequence[Predicted], conditions: Mapping[str, str]) -> str:
    """Both tables, a summary, and how they were measured."""
    lines = [
        summary(found),
        "",
        "| copies at once | GB/s each | max-min fair | error % | the rule | error % | spread % |",
        "|---|---|---|---|---|---|---|",
        *(_rule_row(one) for one in rules),
        "",
        "| network (batch) | math | policy | start | GPU | measured ms | longer than alone % | simulated ms | "
        "longer than alone % | error % | spread % | begun later ms | verdict | bytes and addresses |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    alone = {(one.record.case, one.record.gpu): one for one in found if one.record.start == Start.ALONE}
    for one in found:
        record = one.record
        by_itself = alone.get((record.case, record.gpu), one)
        longer = record.measured_ns / by_itself.record.measured_ns - 1
        simulated_longer = one.simulated_ns / max(1, by_itself.simulated_ns) - 1
        verdict = "; ".join((one.verdict, *record.disturbed_by))
        more, simulated_more, error = (f"{100 * share:+.2f}" for share in (longer, simulated_longer, one.error))
        lines.append(
            f"| {record.network} ({record.batch}) | {record.math} | {record.policy} | {record.start} | {record.gpu} | "
            f"{record.measured_ns / 1e6:.3f} | {more} | {one.simulated_ns / 1e6:.3f} | {simulated_more} | "
            f"{error} | {record.spread_ppm / 1e4:.2f} | {record.delay_ns / 1e6:.3f} | {verdict} | "
            f"{'equal' if record.equal else 'DIFFER'} |"
        )
    return "\n".join([*lines, "", *(f"* {key}: {text}" for key, text in conditions.items())]) + "\n"


def summary(found: Sequence[Predicted]) -> str:
    """How many iterations agree, how near those came that can be told, and whether bytes and addresses are equal."""
    if not found:
        return "No case was measured."
    told = [one for one in found if one.record.told]
    near = sum(abs(one.error) <= NEAR for one in told)
    errors = sorted(abs(one.error) for one in told)
    close = f", median error {100 * median(errors):.2f} %, largest {100 * errors[-1]:.2f} %" if errors else ""
    equal = sum(one.record.equal for one in found)
    return (
        f"{len({one.record.case for one in found})} cases on {len({one.record.gpu for one in found})} GPUs, "
        f"{len(found)} iteration times: {len(told)} can be told, {near} of them within {100 * NEAR:.0f} %{close}; "
        f"bytes and addresses equal in {equal} of {len(found)}"
    )


def _rule_row(one: Rule) -> str:
    rates = (one.measured.rates_bytes_per_s, one.fair_bytes_per_s, one.rule_bytes_per_s)
    measured, fair, rule = (", ".join(f"{rate / 1e9:.1f}" for rate in each) for each in rates)
    off, errors = (", ".join(f"{100 * error:+.1f}" for error in each) for each in (one.fair_errors, one.errors))
    spread = "; ".join((f"{max(one.measured.spreads_ppm) / 1e4:.2f}", *one.measured.disturbed_by))
    return f"| {one.measured.title} | {measured} | {fair} | {off} | {rule} | {errors} | {spread} |"

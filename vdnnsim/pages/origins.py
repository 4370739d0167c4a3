"""Where the numbers of a comparison are from: what each is, what it rests on, and the label of that."""

from __future__ import annotations

from collections.abc import Mapping

from vdnnsim.pages.parts import Column, Grid, Items, Part, Row, Words
from vdnnsim.report.words import link, provenance
from vdnnsim.results import Comparison, PolicyResult
from vdnnsim.units import format_bytes

_KNOWN = (
    ("iteration, stalls, loss", "simulated: kernels and copies on their engines, in the order of the program"),
    ("kernel times", "the trace; each row has its label"),
    ("copies", "the curve of the GPU's link, size by size, slower while both ways are busy"),
    ("host and synchronising", "the profile's costs of calls"),
    ("bytes, addresses, peaks", "shapes of tensors, workspaces of the trace, and the pool's rules"),
    ("performance", "the oracle's iteration, simulated alike in endless memory, over the policy's"),
    ("does it train", "the pool's answer to every request, in the capacity given"),
)


def origins(comparison: Comparison) -> list[Part]:
    """What stands in the page's last section."""
    origin = comparison.origin
    made_from = [
        ("vdnnsim", origin.version),
        (
            "trace",
            origin.trace + ("" if origin.trace_checked else " (unchecked: it does not say of which layers it is)"),
        ),
        ("GPU", f"{comparison.gpu}, {format_bytes(comparison.capacity_bytes)}. {link(comparison)}"),
        ("pool", f"{comparison.pool}, weight gradients: {comparison.weight_gradients}"),
        *((f"source: {name}", text) for name, text in comparison.sources.items()),
        *_of_capture(comparison),
        ("SHA-256", f"network {origin.network_sha256}\ntrace {origin.trace_sha256}\nGPU {origin.gpu_sha256}"),
    ]
    known = Grid((Column("number"), Column("what it rests on")), [Row(row) for row in _KNOWN])
    return [Words(provenance(comparison)), known, _by_policy(comparison), Items(made_from)]


def _of_capture(comparison: Comparison) -> list[tuple[str, str]]:
    if comparison.captured is None:
        return []
    header = comparison.captured.header
    return [("captured", _pairs({"PyTorch": header.torch, **header.setting, **header.conditions}))]


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _by_policy(comparison: Comparison) -> Grid:
    """How much of each policy's kernel time has which label."""
    labels = dict.fromkeys(label for result in comparison.results for label in result.kernel_time_ns_by_provenance)
    columns = (
        Column("policy"),
        Column("weakest label"),
        *(Column(f"kernel time\n{label} %", True) for label in labels),
    )
    rows = [Row([result.policy, result.provenance.value, *_shares(result, labels)]) for result in comparison.results]
    return Grid(columns, rows)


def _shares(result: PolicyResult, labels: Mapping[str, None]) -> list[str]:
    times = result.kernel_time_ns_by_provenance
    total_ns = sum(times.values()) or 1
    return [f"{100 * times.get(label, 0) / total_ns:.1f}" for label in labels]

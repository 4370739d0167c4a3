"""Where the numbers of a comparison are from: what each is, what it rests on, and the label of that."""

from __future__ import annotations

from collections.abc import Mapping

from vdnnsim.gpu import GpuProfile
from vdnnsim.pages.parts import Column, Grid, Items, Part, Row, Words
from vdnnsim.report.words import link, provenance
from vdnnsim.results import Comparison, PolicyResult
from vdnnsim.units import format_bytes

_KNOWN = (
    ("iteration, stalls, loss", "simulated: kernels and copies on their engines, in the order of the program", ()),
    ("kernel times", "the trace; each row has its label", ()),
    ("copies", "the curve of the GPU's link, size by size", ("link.copy_out", "link.copy_in")),
    ("copies both ways at once", "how much slower the link is then", ("link.both_ways",)),
    ("host and synchronising", "the profile's costs of calls", ("host",)),
    ("bytes, addresses, peaks", "shapes of tensors, workspaces of the trace, and the pool's rules", ()),
    ("performance", "the oracle's iteration, simulated alike in endless memory, over the policy's", ()),
    ("does it train", "the pool's answer to every request, in the capacity given", ("memory",)),
)
"""What each number is, and the parts of the GPU's profile that it rests on."""


def origins(comparison: Comparison, profile: GpuProfile | None = None) -> list[Part]:
    """What stands in the page's last section; with a profile, where each part of it is from."""
    origin = comparison.origin
    made_from = [
        ("vdnnsim", origin.version),
        (
            "trace",
            origin.trace + ("" if origin.trace_checked else " (unchecked: it does not say of which layers it is)"),
        ),
        ("GPU", f"{comparison.gpu}, {format_bytes(comparison.capacity_bytes)}. {link(comparison)}"),
        ("pool", f"{comparison.pool}, weight gradients: {comparison.weight_gradients}"),
        *((f"trace: {name}", text) for name, text in comparison.sources.items()),
        *((f"GPU: {name}", text) for name, text in (profile.sources if profile else {}).items()),
        *_of_capture(comparison),
        ("SHA-256", f"network {origin.network_sha256}\ntrace {origin.trace_sha256}\nGPU {origin.gpu_sha256}"),
    ]
    return [Words(provenance(comparison)), _known(comparison, profile), _by_policy(comparison), Items(made_from)]


def _known(comparison: Comparison, profile: GpuProfile | None) -> Grid:
    """Each number with what it rests on, and the label of that where there is one."""
    labels = profile.provenance if profile else {}
    rows = []
    for number, rests, parts in _KNOWN:
        own = list(dict.fromkeys(labels[part] for part in parts if part in labels))
        if number == "kernel times":
            own = list(dict.fromkeys(label for result in comparison for label in result.kernel_time_ns_by_provenance))
        rows.append(Row((number, rests, ", ".join(own))))
    return Grid((Column("number"), Column("what it rests on"), Column("label")), rows)


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

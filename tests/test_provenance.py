"""Where a result's numbers are from: the weakest label of its kernels, of the parts of the GPU that it used, and of the
oracle that it is set against."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.cases import conv, fc, gpu_of, layer, network_of, row, trace_of
from vdnnsim.comparing import compare_policies
from vdnnsim.gpu import AfterWait, CallKind, GpuProfile, HostCosts
from vdnnsim.network import Kind
from vdnnsim.policies import make_policy
from vdnnsim.study import Study
from vdnnsim.sweep.prepared import prepare
from vdnnsim.trace import Provenance, Trace

NETWORK = network_of(conv("a"), layer(Kind.ACTV, "relu"), conv("b", channels=2), fc("fc"), layer(Kind.SOFTMAX, "loss"))
TRACE = trace_of(NETWORK, [row("b", "forward", 300), row("a", "forward", 100)])
GPU = gpu_of(out_ns_per_100_bytes=40, in_ns_per_100_bytes=40, host=HostCosts(kernel_ns=5))
MEASURED = tuple(entry._replace(provenance=Provenance.MEASURED) for entry in TRACE.rows)
PARTS = ("memory", "host", "link.copy_out", "link.copy_in", "link.both_ways")


def labelled(part: str = "", label: str | None = None) -> GpuProfile:
    """A measured GPU but for one part, which has this label or none."""
    labels = {**dict.fromkeys(PARTS, "measured"), part: label}
    return replace(GPU, provenance={name: text for name, text in labels.items() if text})


def test_a_result_carries_the_weakest_label_of_its_kernels() -> None:
    one_published = [MEASURED[0]._replace(provenance=Provenance.PUBLISHED), *MEASURED[1:]]
    for rows, expected in (
        (MEASURED, Provenance.MEASURED),
        (one_published, Provenance.PUBLISHED),
        (TRACE.rows, Provenance.MODELLED),
    ):
        study = Study(NETWORK, Trace(TRACE.header, rows), labelled())
        for policy in ("baseline(p)", "vdnn-all(p)"):
            assert study.run(make_policy(policy)).result.provenance is expected


@pytest.mark.parametrize("label", ["modelled", None])
@pytest.mark.parametrize("part", PARTS)
def test_a_result_carries_the_label_of_every_part_of_the_gpu_that_it_used(part: str, label: str | None) -> None:
    """No policy without copies rests on the link. A part without a label is not a measured one."""
    study = Study(NETWORK, Trace(TRACE.header, MEASURED), labelled(part, label))
    assert study.run(make_policy("vdnn-all(p)")).result.provenance is Provenance.MODELLED
    used = Provenance.MEASURED if part.startswith("link") else Provenance.MODELLED
    assert study.run(make_policy("baseline(p)")).result.provenance is used
    point = prepare(study, "vdnn-all(p)")
    assert point.provenance is Provenance.MODELLED
    assert prepare(study, "baseline(p)").provenance is used


def test_performance_rests_on_the_oracle_as_well() -> None:
    """vdnn-all(m) runs no kernel whose time was modelled; the oracle, which it is set against, does."""
    choices = [row("b", "forward", 900), row("b", "forward", 300, 512, "FFT")]
    rows = [
        entry if entry.algorithm == "FFT" else entry._replace(provenance=Provenance.MEASURED)
        for entry in trace_of(NETWORK, choices).rows
    ]
    study = Study(NETWORK, Trace(TRACE.header, rows), labelled())
    assert study.run(make_policy("vdnn-all(m)")).result.provenance is Provenance.MEASURED
    assert compare_policies(study, ["vdnn-all(m)"])["vdnn-all(m)"].provenance is Provenance.MODELLED


@pytest.mark.parametrize("label", ["modelled", None])
def test_what_calls_cost_after_a_wait_counts_where_a_gpu_says_so(label: str | None) -> None:
    late = AfterWait((0, 9), *([(0, 1)] * len(CallKind)))
    for after_wait, expected in ((None, Provenance.MEASURED), (late, Provenance.MODELLED)):
        gpu = labelled("host.after_wait", label)
        study = Study(
            NETWORK, Trace(TRACE.header, MEASURED), replace(gpu, host=replace(gpu.host, after_wait=after_wait))
        )
        assert study.run(make_policy("baseline(p)")).result.provenance is expected


def test_compressed_copies_are_modelled_whatever_was_measured() -> None:
    """No GPU has the engine; where nothing is copied, it does nothing."""
    study = Study(NETWORK, Trace(TRACE.header, MEASURED), labelled())
    squeezed, kept = (study.run(f"cdma({policy}, density=0.5)").result for policy in ("vdnn-all(p)", "baseline(p)"))
    assert (squeezed.provenance, kept.provenance) == (Provenance.MODELLED, Provenance.MEASURED)

"""What is asked of a machine in place of its own: each by hand, and pinned memory that ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.cases import conv, layer, network_of, row, trace_of
from vdnnsim.changes import Changes
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import GpuProfile, HostCosts, Link, LinkCurve, LinkPoint, Pinning
from vdnnsim.network import Kind
from vdnnsim.results import PolicyResult
from vdnnsim.study import Study
from vdnnsim.trace import Provenance, RowSpread
from vdnnsim.workloads import workload_of

NETWORK = network_of(conv("a"), conv("b"), conv("c"), layer(Kind.SOFTMAX, "end"))
"""Maps of 100 bytes each."""
CURVE = LinkCurve((LinkPoint(100, 30), LinkPoint(1100, 1030)))
FAR = LinkCurve((LinkPoint(100, 60), LinkPoint(1100, 4060)))
GPU = GpuProfile(
    "g", "G", 10**9, 100 * 10**9, Link(CURVE, CURVE), HostCosts(kernel_ns=4, copy_ns=6), None, {"host": "measured"}
)


def study(gpu: GpuProfile = GPU) -> Study:
    rows = [row("a", "forward", 100)]
    trace = trace_of(NETWORK, [rows[0]._replace(launch_ns=5, start_ns=7, spread=RowSpread(1, 1, 1, 1))])
    return Study(workload_of(NETWORK), trace, gpu)


def pinned(**options: object) -> Study:
    return study(replace(GPU, host=replace(GPU.host, pinning=Pinning(**options))))  # type: ignore[arg-type]


def result(of: Study, policy: str = "vdnn-all(p)") -> PolicyResult:
    return of.run(policy).result


def test_each_way_has_a_bandwidth_of_its_own_and_both_start_later() -> None:
    changed = study().changed(Changes(link_bandwidth_out="2 GB/s", link_latency=50))
    assert changed.gpu.link.copy_out.points == (LinkPoint(100, 50), LinkPoint(1100, 550))
    assert changed.gpu.link.copy_in.points == (LinkPoint(100, 50), LinkPoint(1100, 1050))
    assert changed.gpu.provenance["link.copy_in"] == "modelled"


def test_kernels_and_the_hosts_calls_have_other_speeds() -> None:
    changed = study().changed(Changes(compute_scale=4, host_scale=3))
    entry = changed.trace.row("a", "forward", "default")
    assert (entry.duration_ns, entry.launch_ns, entry.start_ns, entry.spread) == (25, 15, 17, None)
    assert entry.provenance is Provenance.MODELLED
    assert (changed.gpu.host.kernel_ns, changed.gpu.host.copy_ns) == (12, 18)
    assert changed.gpu.provenance["host"] == "modelled"
    plain = study()
    assert plain.changed(Changes()) is plain


def test_the_hosts_memory_may_be_on_another_socket() -> None:
    gpu = replace(
        GPU, remote=Link(FAR, FAR), provenance={"link.both_ways": "measured", "link.remote.copy_in": "published"}
    )
    far = gpu.on_numa("remote")
    assert far.link.copy_out == FAR
    assert far.provenance == {"link.remote.copy_in": "published", "link.copy_in": "published"}
    assert gpu.on_numa("local") is gpu
    with pytest.raises(InvalidInput, match="numa: found 'remote', expected local for g: its profile has no"):
        GPU.on_numa("remote")
    with pytest.raises(InvalidInput, match="numa: found 'left', expected local or remote for g"):
        gpu.on_numa("left")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (Changes(compute_scale=0), "compute scale: found 0, expected a factor from 0.001 to 1000; 2 is twice as fast"),
        (Changes(host_scale=float("nan")), "host scale: found nan, expected a factor from"),
        (Changes(link_latency="5"), "link latency: found '5', expected a duration"),
        (Changes(link_bandwidth_in="200 GB/s"), "link bandwidth: found 200.00 GB/s, expected at most the 100.00 GB/s"),
        (Changes(pinned_budget="much"), "pinned budget: found 'much', expected a size"),
        (Changes(pinned_budget=-1), "pinned budget: found -1, expected 0 or more"),
    ],
)
def test_what_cannot_be_is_one_error(changes: Changes, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        study().changed(changes)
    assert str(caught.value).startswith(said)


def test_running_out_of_pinned_memory_is_an_answer() -> None:
    assert result(pinned(budget_bytes=300)).trainable
    found = result(pinned(budget_bytes=250))
    assert not found.trainable
    assert found.reason == (
        "out of pinned host memory in c forward: no room for 100 B (map:b); of the 250 B that can be pinned 200 B are "
        "taken; all of it needs 300 B (300 bytes); pin more, or use a smaller batch or a policy that offloads less"
    )
    assert (found.needs, found.iteration_time_ns) == ("needs 300 B pinned", result(study()).iteration_time_ns)
    assert "the host cannot pin, and all of it needs 300 B" in result(pinned(budget_bytes=0)).reason
    assert result(pinned(budget_bytes=0), "baseline(p)").trainable


def test_what_the_host_has_before_the_iteration_is_pinned_too() -> None:
    """vdnn++ reads the images from there, and copies one map out."""
    found = result(pinned(budget_bytes=199), "vdnn++")
    assert (found.trainable, found.pinned_host_bytes) == (False, 200)
    assert "of the 199 B that can be pinned 100 B are taken; all of it needs 200 B" in found.reason
    assert "in set-up: no room for 100 B (map:data)" in result(pinned(budget_bytes=99), "vdnn++").reason
    assert result(pinned(budget_bytes=200), "vdnn++").trainable


def test_vdnn_dyn_goes_on_where_only_the_host_has_no_room() -> None:
    found = result(pinned(budget_bytes=0), "vdnn-dyn")
    assert [(trial.title, trial.fits) for trial in found.trials] == [
        ("vdnn-all, memory-optimal", False),
        ("no offload, fastest", True),
    ]
    assert (found.trainable, found.pinned_host_bytes) == (True, 0)


def test_blocks_of_powers_of_two_take_more_and_pinning_takes_its_time() -> None:
    found = result(pinned(powers_of_two=True, budget_bytes=350))
    assert (found.trainable, found.pinned_host_bytes) == (False, 3 * 128)
    once = result(pinned(bytes_per_s=10**9, call_ns=7))
    assert (once.pinned_host_bytes, once.pinning_time_ns) == (300, 3 * (100 + 7))
    assert once.iteration_time_ns == result(study()).iteration_time_ns


def test_pinning_in_the_step_is_the_hosts_time_before_each_copy_out() -> None:
    plain, slow = result(study()), result(pinned(bytes_per_s=10**9, call_ns=7, in_step=True))
    assert slow.pinning_time_ns == 0
    assert 0 < slow.iteration_time_ns - plain.iteration_time_ns <= 3 * 107
    copies = [
        [copy.begin_ns for copy in of.run("vdnn-all(p)").timeline.copies]
        for of in (study(), pinned(call_ns=10**6, in_step=True))
    ]
    assert copies[1][0] == copies[0][0] + 10**6

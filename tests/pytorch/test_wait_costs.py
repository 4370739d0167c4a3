"""What waits for the device cost the host, without one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from captured.steps import three_layers
from pytorch.probing import probe
from pytorch.tricky_models import made
from vdnnsim.pytorch.capturing import _Capture
from vdnnsim.pytorch.devices import CpuDevice
from vdnnsim.pytorch.wait_costs import long_waits, measure_unpinned, measure_waited_copy

CPU = torch.device("cpu")


def test_nobody_waits_for_the_cpu_whose_copies_still_cost() -> None:
    with long_waits(CPU) as wait:
        assert wait() == 0
    _, step = made("tricky")
    runs: list[object] = []
    assert 0 < measure_waited_copy(lambda: runs.append(step()), CPU) < 10**7
    assert len(runs) == 2


def test_tensors_with_gaps_in_another_order_are_copied_in_three_sizes_at_most() -> None:
    """As those of an attention's heads are, a third of each row; with their rows in order, or without gaps, they go as
    others do, and what stays is not asked for."""
    step = three_layers()
    turned = step.saved[2]._replace(shape=(4, 8, 16), stride=(24, 192, 1))
    sizes = [turned._replace(shape=(4, 8, elements), stride=(3 * elements, 12 * elements, 1)) for elements in (2, 4, 8)]
    others = (
        turned._replace(shape=(8, 4, 32), stride=(384, 96, 1)),
        turned._replace(shape=(4, 8, 64), stride=(64, 256, 1)),
        turned._replace(stays="small", shape=(4, 8, 128), stride=(24, 192, 1)),
    )
    assert not turned.in_order
    assert not turned.without_gaps
    found = measure_unpinned(replace(step, saved=(*sizes, turned, *others)), CPU)
    assert [one.size_bytes for one in found] == [4 * 8 * 4 * elements for elements in (2, 4, 16)]
    assert measure_unpinned(step, CPU) == ()


def test_a_capture_has_them_where_the_host_does_not_run_the_kernels_itself() -> None:
    """Here it does, but nobody says so: what hooks cost is measured amid the step, and what its waits do."""

    class Device(CpuDevice):
        host_runs_kernels = False

    model, step = made("tricky")
    probed = probe(model, step)
    no_optimiser: Any = None
    capturing = _Capture(step, model, no_optimiser, Device(), 1024, 2)
    found = capturing._with_calls(probed)
    assert found.hooks.copy_out_ns >= probed.hooks.copy_out_ns
    assert found.waits is not None
    assert (found.waits.end_ns, len(found.waits.unpinned)) == (0, 1)
    assert found.waits.copy_ns > 0
    assert probed.waits is None
    assert replace(found, hooks=probed.hooks, waits=None) == probed

"""What hooks cost the host."""

import time

import torch

from pytorch.probing import probe
from pytorch.tricky_models import made
from vdnnsim.captured import HookCosts, hook_schedule
from vdnnsim.pytorch.hook_costs import measure_calls_in, measure_copies_in, measure_hook_costs
from vdnnsim.pytorch.profiling import Timed

CPU = torch.device("cpu")


def test_hooks_cost_microseconds() -> None:
    """A call of nothing is cheap; what the issue allows a copy out and a copy in holds without a GPU's own calls."""
    found = measure_hook_costs(CPU)
    assert 0 < found.call_ns < 20_000
    assert found.stream_wait_ns > 0
    assert found.call_ns < found.copy_out_ns < 200_000
    assert 0 < found.copy_in_ns < 400_000


def test_what_calls_cost_amid_a_step_is_what_its_host_takes_longer() -> None:
    """The clock counts 7 ns a call of a hook, and one million for the rest, which drifts. All calls go by the plan."""
    model, step = made("tricky")
    probed = probe(model, step)
    drift = iter(range(0, 10**6, 1000))

    def time_step() -> Timed:
        hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
        step()
        return Timed(10**6 + next(drift) // 1000 + (7 * len(probed.hook_calls) if hooks else 0), 0)

    assert len(hook_schedule(probed).leaves) == 0
    assert measure_calls_in(probed, time_step, CPU) == 7


def test_what_copies_cost_amid_a_step_is_clocked_and_no_less_than_alone() -> None:
    """And how late the first is: 2 ms that no launch says, but within what hooks are taken to cost."""
    model, step = made("tricky")
    probed = probe(model, step)
    cheap, dear = HookCosts(5, 10, 20, 1), HookCosts(5, 10**9, 10**9, 1)

    def run() -> Timed:
        begun_ns = time.perf_counter_ns()
        time.sleep(0.002)
        step()
        return Timed(0, 0, begun_ns)

    found, begin_ns = measure_copies_in(probed, cheap, run, CPU)
    assert (found.call_ns, found.stream_wait_ns) == (5, 1)
    assert 100 < found.copy_out_ns < 10**6
    assert 100 < found.copy_in_ns < 10**6
    assert 2_000_000 < begin_ns < 200_000_000
    assert measure_copies_in(probed, dear, run, CPU) == (dear, 0)

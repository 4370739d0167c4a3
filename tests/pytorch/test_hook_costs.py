"""What hooks cost the host."""

import torch

from vdnnsim.pytorch.hook_costs import measure_hook_costs


def test_hooks_cost_microseconds() -> None:
    """A call of nothing is cheap; what the issue allows a copy out and a copy in holds without a GPU's own calls."""
    found = measure_hook_costs(torch.device("cpu"))
    assert 0 < found.call_ns < 20_000
    assert found.stream_wait_ns > 0
    assert found.call_ns < found.copy_out_ns < 200_000
    assert 0 < found.copy_in_ns < 400_000

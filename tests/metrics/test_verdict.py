"""One sentence that says what binds, on literal steps."""

from vdnnsim.metrics import StepTime, verdict


def steps(*times: tuple[str, int, int, int]) -> list[StepTime]:
    """Forward steps one after the other: layer, kernel, stall and overhead in nanoseconds."""
    found = []
    begin_ns = 0
    for layer, kernel_ns, stall_ns, overhead_ns in times:
        end_ns = begin_ns + kernel_ns + stall_ns + overhead_ns
        found.append(StepTime(layer, False, False, begin_ns, end_ns, kernel_ns, stall_ns, 0, 0))
        begin_ns = end_ns
    return found


def test_kernels_bind_where_nothing_waits() -> None:
    assert verdict(steps(("a", 99, 0, 1))) == "compute-bound: kernels run 99 % of the iteration"


def test_a_small_stall_is_said_and_does_not_bind() -> None:
    expected = "compute-bound: kernels run 99 % of the iteration, copies wait 1.0 %"
    assert verdict(steps(("a", 990, 10, 0))) == expected


def test_the_link_binds_over_the_shortest_range_that_holds_nine_tenths_of_the_stall() -> None:
    times = steps(("a", 100, 5, 0), ("b", 100, 60, 0), ("c", 100, 0, 0), ("d", 100, 50, 0), ("e", 100, 5, 0))
    assert verdict(times) == "link-bound from b to d: copies wait 19 % of the iteration"


def test_one_stalled_layer_is_named_alone() -> None:
    assert verdict(steps(("a", 100, 0, 0), ("b", 100, 100, 0))) == "link-bound at b: copies wait 33 % of the iteration"


def test_the_host_binds_where_its_calls_outweigh_the_stalls() -> None:
    expected = "host-bound: calls and synchronising take 50 % of the iteration"
    assert verdict(steps(("a", 40, 10, 50))) == expected


def test_what_does_not_train_is_bound_by_memory() -> None:
    assert verdict(steps(("a", 1, 0, 0)), "no room for b") == "memory-bound: no room for b"


def test_nothing_to_run() -> None:
    assert verdict([]) == "nothing to run"

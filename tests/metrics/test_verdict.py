"""One sentence that says what binds, on literal steps."""

from __future__ import annotations

import pytest

from vdnnsim.metrics import Loss, Spent, StepTime, binding, loss_to_copies, verdict


def steps(*stalls_ns: int) -> list[StepTime]:
    """Forward steps of layers a, b, c ... with these stalls."""
    return [
        StepTime(layer, False, False, 0, 100 + stall_ns, 100, stall_ns, 0, 0)
        for layer, stall_ns in zip("abcdefgh", stalls_ns, strict=False)
    ]


def says(spent: Spent, loss: Loss | None = None, stalls_ns: tuple[int, ...] = ()) -> str:
    return verdict(steps(*stalls_ns or (sum(spent[1:4]),)), spent, loss or loss_to_copies(spent))


def test_kernels_bind_where_nothing_waits() -> None:
    assert says(Spent(99, 0, 0, 0, 1, 0)) == "compute-bound: kernels run 99 % of the iteration"


def test_a_small_stall_is_said_and_does_not_bind() -> None:
    expected = "compute-bound: kernels run 99 % of the iteration, copies wait 1.0 %"
    assert says(Spent(990, 4, 3, 3, 0, 0)) == expected


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Loss(511, 53, 18, 31, 0, 0), "algorithm-bound: 51 % for slower algorithms, 5.3 % for copies"),
        (
            Loss(0, 53, 18, 31, 0, 0),
            "link-bound at a: 5.3 % for copies out, 3.1 % for late fetches, 1",
        ),
        (
            Loss(0, 18, 53, 31, 0, 0),
            "link-bound at a: 5.3 % for copies in, 3.1 % for late fetches, 1.",
        ),
        (
            Loss(0, 18, 31, 53, 0, 0),
            "fetch-bound at a: 5.3 % for late fetches, 3.1 % for copies in, 1",
        ),
        (
            Loss(20, 0, 0, 0, 30, 10),
            "host-bound: 3.0 % for the host's calls, 2.0 % for slower algorit",
        ),
        (
            Loss(20, 0, 0, 0, 10, 30),
            "host-bound: 3.0 % for synchronising, 2.0 % for slower algorithms",
        ),
        (
            Loss(30, 29, 29, 29, 0, 0),
            "algorithm-bound: 3.0 % for slower algorithms, 2.9 % for copies o",
        ),
        (Loss(20, 0, 0, 0, -9, 0), "algorithm-bound: 2.0 % for slower algorithms"),
        (Loss(19, 0, 0, 0, 0, 0), "compute-bound: kernels run 88 % , copies wait 10 %"),
    ],
)
def test_the_largest_part_of_the_loss_is_named_and_the_others_follow(loss: Loss, expected: str) -> None:
    found = says(Spent(880, 40, 30, 32, 9, 9), loss).replace("of the iteration ", "")
    assert found.replace("of the iteration", "").startswith(expected)


def test_parts_of_less_than_a_thousandth_are_not_worth_saying() -> None:
    whole = Spent(9000, 980, 9, 0, 1, 10)
    assert says(whole, Loss(0, 980, 9, 0, 1, 10)) == (
        "link-bound at a: of the iteration 9.8 % for copies out, 0.1 % for synchronising"
    )


@pytest.mark.parametrize(
    ("stalls_ns", "where"),
    [
        ((5, 60, 0, 50, 5), "from b to d"),  # the shortest range that holds nine tenths
        ((0, 50, 0, 40, 5), "from b to d"),
        ((0, 100), "at b"),
    ],
)
def test_the_layers_where_copies_bind(stalls_ns: tuple[int, ...], where: str) -> None:
    spent = Spent(500, sum(stalls_ns), 0, 0, 0, 0)
    assert says(spent, stalls_ns=stalls_ns).startswith(f"link-bound {where}: of the iteration ")


def test_forward_and_backward_of_a_layer_count_together() -> None:
    times = [*steps(0, 50), *(step._replace(backward=True) for step in reversed(steps(0, 50)))]
    spent = Spent(400, 100, 0, 0, 0, 0)
    assert verdict(times, spent, loss_to_copies(spent)).startswith("link-bound at b:")


def test_the_host_binds_where_it_takes_a_fiftieth_and_nothing_else_is_lost() -> None:
    """The oracle's own calls are no loss against itself, but they bind it."""
    expected = "host-bound: calls and synchronising take 2.0 % of the iteration"
    assert says(Spent(980, 0, 0, 0, 12, 8), Loss(0, 0, 0, 0, 0, 0)) == expected
    assert says(Spent(981, 0, 0, 0, 11, 8), Loss(0, 0, 0, 0, 0, 0)).startswith("compute-bound")


def test_what_does_not_train_is_bound_by_memory() -> None:
    spent = Spent(1, 0, 0, 0, 0, 0)
    assert verdict(steps(0), spent, loss_to_copies(spent), "no room for b") == "memory-bound: no room for b"


def test_nothing_to_run() -> None:
    nothing = Spent(0, 0, 0, 0, 0, 0)
    assert verdict([], nothing, loss_to_copies(nothing)) == "nothing to run"


def test_where_every_kernel_runs_one_way_copies_make_it_slower() -> None:
    """Of a captured step there are no slower algorithms to have been chosen."""
    own = Spent(1100, 0, 0, 0, 0, 0)
    loss = Loss(100, 0, 0, 0, 0, 0)
    assert binding(own, loss) == "algorithm"
    assert binding(own, loss, one_way=True) == "link"
    assert verdict(steps(0), own, loss, one_way=True) == (
        "link-bound: of the iteration 9.1 % for kernels slowed by copies"
    )


@pytest.mark.parametrize("one_way", [False, True])
def test_what_is_made_again_binds_by_its_own_name(one_way: bool) -> None:
    own = Spent(1000, 0, 0, 0, 0, 0, 250)
    loss = Loss(20, 0, 0, 0, 0, 0, 250)
    assert binding(own, loss, one_way) == "recompute"
    slower = "kernels slowed by copies" if one_way else "slower algorithms"
    assert verdict(steps(0), own, loss, one_way=one_way) == (
        f"recompute-bound: of the iteration 20 % for kernels run again, 1.6 % for {slower}"
    )
    assert verdict(steps(0), own, Loss(0, 0, 0, 0, 0, 0, 0)) == "compute-bound: kernels run 100 % of the iteration"


def test_a_host_that_is_known_to_bind_is_told_before_all_but_memory() -> None:
    own = Spent(1000, 0, 0, 0, 0, 0)
    loss = Loss(0, 0, 0, 0, 0, 0)
    assert verdict(steps(0), own, loss, host_binds_because="slow") == "host-bound: slow"
    assert verdict(steps(0), own, loss, "no room", host_binds_because="slow") == "memory-bound: no room"

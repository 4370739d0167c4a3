"""What calls cost more after a wait: worked out by hand, and what is no such table."""

from __future__ import annotations

import pytest

from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import AfterWait, CallKind

TABLE = AfterWait((0, 100, 300), (0, 10, 50), (0, 0, 9), (0, 7, 4), (0, 1, 2))


@pytest.mark.parametrize(
    ("call", "waited_ns", "extra_ns"),
    [
        (CallKind.KERNEL, 0, 0),
        (CallKind.KERNEL, 9, 0),  # 0.9, rounded down
        (CallKind.KERNEL, 10, 1),
        (CallKind.KERNEL, 100, 10),
        (CallKind.KERNEL, 200, 30),
        (CallKind.KERNEL, 300, 50),
        (CallKind.KERNEL, 10**12, 50),
        (CallKind.COPY, 100, 0),
        (CallKind.COPY, 299, 8),
        (CallKind.ALLOCATE, 200, 5),  # 5.5: extras may fall
        (CallKind.SYNCHRONISE, 200, 1),
    ],
)
def test_extras_are_linear_between_the_waits_and_constant_beyond_the_last(
    call: CallKind, waited_ns: int, extra_ns: int
) -> None:
    assert TABLE.extra_ns(call, waited_ns) == extra_ns


@pytest.mark.parametrize(
    ("waits_ns", "copy_ns", "message"),
    [
        ((0,), (0,), r"waits_ns: found \[0\], expected two or more, the first 0, rising"),
        ((5, 9), (0, 1), r"waits_ns: found \[5, 9\], expected two or more, the first 0, rising"),
        ((0, 0), (0, 1), r"waits_ns: found \[0, 0\], expected two or more, the first 0, rising"),
        ((0, 9), (0, 1, 2), r"copy_ns: found \[0, 1, 2\], expected 2 numbers, one for each of waits_ns"),
        ((0, 9), (0, -1), r"copy_ns: found \[0, -1\], expected none below 0"),
        ((0, 9), (3, 4), r"copy_ns: found \[3, 4\], expected the first 0: what a call costs without a wait"),
    ],
)
def test_what_is_no_such_table_is_told(waits_ns: tuple[int, ...], copy_ns: tuple[int, ...], message: str) -> None:
    zeros = (0,) * len(waits_ns)
    with pytest.raises(InvalidInput, match=message):
        AfterWait(waits_ns, zeros, copy_ns, zeros, zeros)

"""Requests and frees in any order, and a pool that serves them."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import settings
from hypothesis import strategies as st

from support.examples import tries
from vdnnsim.memory import Pool, PoolExhausted

Step = tuple[bool, int]
quick = settings(max_examples=tries(100), derandomize=True, deadline=None)


def steps(largest_bytes: int) -> st.SearchStrategy[list[Step]]:
    """Requests (True, size) and frees (False, which of the live blocks)."""
    sizes = st.integers(1, largest_bytes) | st.sampled_from([512, 1024, largest_bytes // 4, largest_bytes])
    requests = st.tuples(st.just(True), sizes)
    frees = st.tuples(st.just(False), st.integers(0, 2**16))
    return st.lists(requests | requests | frees, max_size=60)


def play(pool: Pool, script: list[Step]) -> Iterator[tuple[int, int | None]]:
    """Runs a script; yields (size, address, or None where it did not fit) of each request, (0, address) of frees."""
    live: list[int] = []
    for is_request, number in script:
        if is_request:
            try:
                live.append(pool.allocate(number))
            except PoolExhausted:
                yield number, None
            else:
                yield number, live[-1]
        elif live:
            address = live.pop(number % len(live))
            pool.free(address)
            yield 0, address

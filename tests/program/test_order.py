"""What is known to be done: by hand, and as the paths of the graph that work and waits draw."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.examples import tries
from vdnnsim.program import GPU_STREAMS, NotGiven, Order, Piece, Stream

COMPUTE, OUT, IN = GPU_STREAMS


def test_a_stream_is_in_order_and_no_other_waits_for_it() -> None:
    order = Order()
    kernel = order.give(COMPUTE)
    assert kernel == Piece(COMPUTE, 1)
    assert order.ordered(kernel, COMPUTE)
    assert not order.ordered(kernel, OUT)
    assert not order.known(kernel)
    assert order.give(COMPUTE) == Piece(COMPUTE, 2)


def test_the_host_waits_for_one_piece_and_what_came_before_it() -> None:
    order = Order()
    first, second, third = (order.give(OUT) for _ in range(3))
    order.host_wait(second)
    assert [order.known(piece) for piece in (first, second, third)] == [True, True, False]
    assert order.ordered(second, COMPUTE)
    assert not order.ordered(third, COMPUTE)
    order.synchronise((OUT, IN))
    assert order.known(third)


def test_what_a_stream_waited_for_it_hands_on() -> None:
    """The copy in waits for a kernel, which waits for a copy out: the host that waits for the last knows all."""
    order = Order()
    out = order.give(OUT)
    order.stream_wait(COMPUTE, out)
    assert order.ordered(out, COMPUTE)
    kernel = order.give(COMPUTE)
    order.stream_wait(IN, kernel)
    assert order.ordered(out, IN)
    back = order.give(IN)
    assert not order.known(out)
    order.host_wait(back)
    assert order.known(out)
    assert order.known(kernel)


def test_what_was_given_before_the_wait_did_not_wait() -> None:
    order = Order()
    kernel = order.give(COMPUTE)
    out = order.give(OUT)
    order.stream_wait(COMPUTE, out)
    order.host_wait(kernel)
    assert not order.known(out)
    assert order.ordered(out, COMPUTE)  # the next one


@pytest.mark.parametrize("number", [0, 2])
def test_a_wait_for_what_was_not_given(number: int) -> None:
    order = Order()
    order.give(OUT)
    message = f"a wait for piece {number} of copy out: found 1 given so far"
    with pytest.raises(NotGiven, match=message):
        order.host_wait(Piece(OUT, number))
    with pytest.raises(NotGiven, match=message):
        order.stream_wait(COMPUTE, Piece(OUT, number))


@settings(max_examples=tries(80))
@given(st.data())
def test_it_knows_what_the_graph_of_work_and_waits_says(data: st.DataObject) -> None:
    """A node for each piece and each moment of the host; each reaches what must be done before it."""
    order = Order()
    host: set[Piece] = set()
    streams: dict[Stream, set[Piece]] = {stream: set() for stream in GPU_STREAMS}
    reached: dict[Piece, set[Piece]] = {}
    for _ in range(data.draw(st.integers(1, 25))):
        kind = data.draw(st.sampled_from(["give", "give", "synchronise", "host", "stream"]))
        stream = data.draw(st.sampled_from(GPU_STREAMS))
        pieces = [piece for piece in reached if piece.stream is stream]
        if kind == "give":
            piece = order.give(stream)
            reached[piece] = {piece} | streams[stream] | host
            streams[stream] = set(reached[piece])
        elif kind == "synchronise":
            order.synchronise((stream,))
            host |= reached[pieces[-1]] if pieces else set()
        elif pieces:
            piece = data.draw(st.sampled_from(pieces))
            if kind == "host":
                order.host_wait(piece)
                host |= reached[piece]
            else:
                waiting = data.draw(st.sampled_from(GPU_STREAMS))
                order.stream_wait(waiting, piece)
                streams[waiting] |= reached[piece]
        for piece in reached:
            assert order.known(piece) == (piece in host)
            for stream in GPU_STREAMS:
                assert order.ordered(piece, stream) == (piece in host | streams[stream])

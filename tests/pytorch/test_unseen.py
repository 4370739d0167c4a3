"""Of which forwards offloading tells that it saw nothing."""

from __future__ import annotations

import warnings

import pytest
import torch

from vdnnsim.pytorch.counting import Counts
from vdnnsim.pytorch.unseen import Unseen

PLAIN = torch.zeros(1)
GRAPH = torch.zeros(1, requires_grad=True) * 2


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (GRAPH, True),
        ({"loss": GRAPH, "logits": PLAIN}, True),
        ([PLAIN, (PLAIN, GRAPH)], True),
        (PLAIN, False),  # an evaluation saves nothing
        ({"logits": PLAIN}, False),
        (None, False),
    ],
)
def test_a_forward_whose_output_has_a_graph_saves_something(output: object, told: bool) -> None:
    unseen = Unseen(Counts())
    unseen.begin()
    unseen.end(None, (), output)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        unseen.begin()  # of the next one, which raises before it ends
        unseen.tell()
    assert len(found) == told


def test_what_was_seen_once_is_not_told_at_the_end() -> None:
    unseen = Unseen(Counts())
    unseen.begin()
    unseen.saw()
    unseen.end(None, (), GRAPH)
    unseen.tell()

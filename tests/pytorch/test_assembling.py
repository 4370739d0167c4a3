"""Which saved tensors leave in the step that is recorded to find out how long others hold them."""

from __future__ import annotations

from vdnnsim.captured import Deed, Doing
from vdnnsim.pytorch.assembling import Blocks


def test_what_a_plan_may_ask_for_leaves_too_where_it_can() -> None:
    blocks = object.__new__(Blocks)  # of which three things are asked
    blocks.of_saved = [0, 1, 2, 3, 4, 4]
    blocks.given = dict.fromkeys((0, 1, 2, 4), 9)  # 3 is held beyond the step
    calls = ((Doing.SAVE, 0), (Doing.SAVE, 4), (Doing.NEED, 4), (Doing.SAVE, 5))
    blocks.deeds = [Deed(*call) for call in calls]  # of 4 more is saved after it was needed
    stays = ["", "small", "weight copy", "small", "small", "small"]
    assert blocks.leaving(stays) == [0, 1, 2, None, None, None]
    assert blocks.leaving(["input", "small", "parameter", *stays[3:]]) == [None, 1, None, None, None, None]

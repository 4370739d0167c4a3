"""Forwards of the model of which offloading's hooks see nothing: PyTorch calls the innermost hooks alone, and those of
one thread in that thread alone."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import torch

from vdnnsim.pytorch.counting import Counts

_ELSEWHERE = (
    "the model's forward runs in another thread than the one in which offloading began, whose hooks see nothing there: "
    "nothing leaves; begin 'with offload' in the thread that trains"
)
_HIDDEN = (
    "the model's forward made a graph, and nothing that was saved for it was seen: other saved-tensor hooks inside the "
    "step (checkpoint, save_on_cpu) take it all, and nothing leaves; train without them, or without offload"
)


class Unseen:
    """Told when the model's forward begins and ends, and when a save is seen; tells `counts` where none is seen from
    one forward to the next."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._home = threading.get_ident()
        self._waits = False
        self._ended_in: int | None = None
        """The thread in which a forward ended whose saves nobody saw yet."""

    def begin(self) -> None:
        """A forward begins."""
        self.tell()
        self._waits = True

    def end(self, _model: object, _inputs: object, output: object) -> None:
        """It has ended: a hook of the model's. One whose output has no graph saves nothing."""
        if self._waits and _has_graph(output):
            self._ended_in = threading.get_ident()

    def saw(self) -> None:
        """A tensor is saved."""
        self._waits, self._ended_in = False, None

    def tell(self) -> None:
        """Tell of a forward that ended, and of which nothing was seen."""
        if self._ended_in is not None:
            found = _HIDDEN if self._ended_in == self._home else _ELSEWHERE
            self._counts.tell(found, found)
        self._waits, self._ended_in = False, None


def _has_graph(output: object) -> bool:
    if isinstance(output, torch.Tensor):
        return output.requires_grad
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    return any(map(_has_graph, parts))

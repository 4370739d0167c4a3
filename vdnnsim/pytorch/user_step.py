"""The user's step function, called so that whatever it raises becomes one clear error that holds no tensor."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

import torch

from vdnnsim.errors import InvalidInput, VdnnsimError, first_line

Step = Callable[[], object]
Optimizers: TypeAlias = torch.optim.Optimizer | Sequence[torch.optim.Optimizer]
"""One optimiser, or all that a training steps: of a GAN's two halves, or Muon for matrices and AdamW for the rest."""
_HOST_OUT_OF_MEMORY = "DefaultCPUAllocator"


def each_of(optimizers: Optimizers) -> tuple[torch.optim.Optimizer, ...]:
    """All of them, also of one."""
    return (optimizers,) if isinstance(optimizers, torch.optim.Optimizer) else tuple(optimizers)


class StepFailed(InvalidInput):
    """A user's step raised; ``args`` is (message,), the traceback stands in the notes."""


class OutOfMemory(InvalidInput):
    """A device has too little memory for the step under the circumstances of the capture."""


class UserStep:
    """A step that raises `StepFailed`, or `OutOfMemory`; errors of ours and Ctrl-C pass through.

    What it raised is told and let go: its traceback holds the frames of the step, and these its tensors.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._calls = 0

    def __call__(self) -> None:
        self._calls += 1
        try:
            self._step()
            return
        except VdnnsimError:
            raise
        except Exception as error:
            failure = _failure(error, self._calls)
        raise failure


def keep_hooks_from_compiler() -> None:
    """Have torch.compile, where it is in use, take hooks of this package as they are. It would compile those that it
    meets in what it could not compile itself, in the middle of a step."""
    if dynamo := sys.modules.get("torch._dynamo"):  # which takes seconds to import
        with suppress(AttributeError):
            dynamo.trace_rules.add("vdnnsim")


def check_training(step: object, model: object, optimizer: object, found_by: str) -> None:
    """Raise `InvalidInput` for what is no step, model or optimiser; `found_by` begins the message."""
    for name, one, right, expected in (
        ("step", step, callable(step), "a function"),
        ("model", model, isinstance(model, torch.nn.Module), "a torch.nn.Module"),
        ("optimizer", optimizer, _are_optimizers(optimizer), "a torch.optim.Optimizer, or a list of such"),
    ):
        if not right:
            raise InvalidInput(f"{found_by} a {type(one).__name__} as {name}, expected {expected}")


def _are_optimizers(found: object) -> bool:
    listed = found if isinstance(found, list | tuple) and found else [found]
    return all(isinstance(one, torch.optim.Optimizer) for one in listed)


def _failure(error: Exception, call: int) -> InvalidInput:
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or _HOST_OUT_OF_MEMORY in str(error):
        what = first_line(error).partition(". ")[0]
        return OutOfMemory(f"the step: too little memory to capture it ({what}); use a smaller batch, or free memory")
    frames = traceback.extract_tb(error.__traceback__)[1:]
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    place = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    failure = StepFailed(f"the step: raised {type(error).__name__} in call {call}: {first_line(error)}{place}")
    failure.add_note("".join(traceback.format_exception(error)))
    return failure

"""Saved-tensor hooks that mark what autograd saves and needs: one set keeps everything, one lets blocks leave.

No hook returns the tensor it was given: node, what the hook keeps, tensor and node would be a ring that no collector
sees. What a hook does itself lies within its mark, so that it is not taken for the step's own.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.profiler import record_function

from vdnnsim.profiler.order import ALIKE, StepsDiffer
from vdnnsim.profiler.recording import MODULE, NEED, SAVE
from vdnnsim.pytorch.packed import Label, Packed

_VIEWS = ("TBackward", "TransposeBackward", "PermuteBackward", "ViewBackward", "UnsafeViewBackward", "AliasBackward")


_RAW = "_raw_saved_"
_TELLS = hasattr(torch._C._autograd.SavedTensor, "data")
"""Whether PyTorch tells what hooks keep of a saved tensor without asking them for it."""


class _Kept(NamedTuple):
    """What the hooks keep of a saved tensor."""

    number: int
    tensor: torch.Tensor


class KeepingHooks:
    """Hooks that keep what is saved, note it, and find out who asks for it back."""

    def __init__(self, device: torch.device) -> None:
        self.packed: list[Packed] = []
        self.needed: list[int] = []
        self.labels: dict[int, Label] = {}
        self.modules: list[str] = []
        """The modules whose forward is under way, the innermost last; `modules_marked` keeps it."""
        self._device = device
        self._asked: list[_Kept] | None = None
        """What is asked for to be labelled alone."""

    def pack(self, tensor: torch.Tensor) -> _Kept:
        number = len(self.packed)
        with record_function(f"{SAVE}{number}"):
            self.packed.append(_seen(tensor, self._device, self.modules[-1] if self.modules else ""))
            return _Kept(number, tensor.detach())

    def unpack(self, kept: _Kept) -> torch.Tensor:
        if self._asked is not None:
            self._asked.append(kept)
            return kept.tensor
        self.needed.append(kept.number)
        with record_function(f"{NEED}{kept.number}"):
            if kept.number not in self.labels:
                self._label()
            return kept.tensor

    def _label(self) -> None:
        """See what the node at work has saved."""
        if not _TELLS and _asked_by_checkpoint():
            return  # which is asked by the node, and would be asked once more
        node = torch._C._current_autograd_node()
        for attribute in dir(node):
            if attribute.startswith(_RAW):
                name = attribute.removeprefix(_RAW)
                for place, kept in enumerate(several := self._kept_as(node, name)):
                    if isinstance(kept, _Kept):
                        self.labels[kept.number] = Label(node.name(), name if len(several) == 1 else f"{name}[{place}]")

    def _kept_as(self, node: Any, name: str) -> Sequence[object]:
        """What hooks keep of the tensors that a node has saved under this name."""
        try:
            if _TELLS:
                found = getattr(node, f"{_RAW}{name}")
                return [getattr(one, "data", None) for one in (found if isinstance(found, tuple) else (found,))]
            asked: list[_Kept] = []
            self._asked = asked
            own = f"_saved_{name}"
            getattr(node, own if own in dir(node) else f"saved_{name}")  # the second of a Function in Python
            return asked
        except RuntimeError:  # released
            return ()
        finally:
            self._asked = None


def _asked_by_checkpoint() -> bool:
    """Whether a hook of checkpoint's asks for a saved tensor, and not the backward of its Function. Where a thread of
    autograd's asks there is no caller."""
    caller = sys._getframe(2).f_back
    if caller is None or caller.f_globals.get("__name__") != "torch.utils.checkpoint":
        return False
    return caller.f_code.co_name != "backward"


class LeavingHooks:
    """Hooks that copy whole blocks to the host when the last of what lies in them is saved, and back when the first of
    it is needed.

    `blocks` says for each saved tensor, in order, which block it lies in, None for those that stay; `needs` how often
    each saved tensor is needed.
    """

    def __init__(self, blocks: Sequence[int | None], needed: Sequence[int]) -> None:
        self._blocks = blocks
        self._last_save = {block: number for number, block in enumerate(blocks)}
        self._held: dict[int, torch.Tensor] = {}
        self._needs_left = Counter(block for number in needed if (block := blocks[number]) is not None)
        self._saved = 0
        self._on_host: dict[int, torch.Tensor] = {}
        self._fetched: dict[int, torch.Tensor] = {}

    def pack(self, tensor: torch.Tensor) -> tuple[int, Any]:
        number = self._saved
        self._saved += 1
        if number >= len(self._blocks):
            raise StepsDiffer(
                f"the step in which everything leaves: saves more tensors than the {len(self._blocks)} of the step "
                f"captured first; {ALIKE}"
            )
        with record_function(f"{SAVE}{number}"), torch.no_grad():
            block = self._blocks[number]
            if block is None:
                return number, tensor.detach()
            self._held[block] = tensor.detach()
            if number == self._last_save[block]:
                self._on_host[block] = _to_host(self._held.pop(block))
            geometry = (tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.device)
            return number, geometry

    def unpack(self, packed: tuple[int, Any]) -> torch.Tensor:
        number, kept = packed
        with record_function(f"{NEED}{number}"), torch.no_grad():
            block = self._blocks[number]
            if block is None:
                found: torch.Tensor = kept
                return found
            dtype, shape, stride, offset, device = kept
            if block not in self._fetched:
                self._fetched[block] = self._on_host[block].to(device, copy=True)
            storage = self._fetched[block].untyped_storage()
            self._needs_left[block] -= 1
            if not self._needs_left[block]:
                del self._fetched[block]
            return torch.empty(0, dtype=dtype, device=device).set_(storage, offset, shape, stride)


def _seen(tensor: torch.Tensor, device: torch.device, module: str) -> Packed:
    address = size = offset_bytes = 0
    stride = (0,) * tensor.dim()
    if tensor.layout == torch.strided:
        stride = tuple(tensor.stride())
        if tensor.device == device:
            storage = tensor.untyped_storage()
            address, size = storage.data_ptr(), storage.nbytes()
            offset_bytes = int(tensor.storage_offset()) * tensor.element_size()
    return Packed(
        address,
        size,
        str(tensor.dtype).removeprefix("torch."),
        tuple(tensor.shape),
        stride,
        offset_bytes,
        _why_it_stays(tensor),
        module,
    )


def _why_it_stays(tensor: torch.Tensor) -> str:
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
    if not plain or tensor.is_conj() or tensor.is_neg():
        return "no plain tensor"
    return "weight copy" if _is_weight_copy(tensor) else ""


def _is_weight_copy(tensor: torch.Tensor) -> bool:
    """Whether it comes of a parameter by a change of type, and views of that, alone."""
    node = tensor.grad_fn
    while node is not None and node.name().startswith(_VIEWS):
        node = node.next_functions[0][0]
    if node is None or not node.name().startswith("ToCopyBackward"):
        return False
    source = node.next_functions[0][0]
    return source is not None and source.name().endswith("AccumulateGrad")


def _to_host(tensor: torch.Tensor) -> torch.Tensor:
    """The bytes of its whole storage in memory that no profiler takes for a block of the CPU's."""
    storage = tensor.untyped_storage()
    host = torch.from_numpy(np.empty(storage.nbytes(), np.uint8))
    host.copy_(torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage))
    return host


def is_compiled(module: torch.nn.Module) -> bool:
    """Whether torch.compile made it: hooks of what is in it would have it compiled anew."""
    dynamo = sys.modules.get("torch._dynamo")  # which takes seconds to import
    wrapped = dynamo is not None and isinstance(module, dynamo.OptimizedModule)
    return wrapped or module._compiled_call_impl is not None


@contextmanager
def modules_marked(model: torch.nn.Module, stack: list[str], compiled: bool = False) -> Iterator[None]:
    """While this lasts, modules mark their forward in the profile, and `stack` has the names of those under way. Those
    within a compiled one do not, and none where the step runs `compiled` code that no module of the model says it is:
    hooks would have it compiled anew."""
    marks: list[Any] = []

    def enter(name: str) -> None:
        stack.append(name)
        marks.append(record_function(f"{MODULE}{name}"))
        marks[-1].__enter__()

    def leave(*_: object) -> None:
        stack.pop()
        marks.pop().__exit__(None, None, None)

    def around(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def marked(*args: object, **options: object) -> object:
            enter(name)
            try:
                return call(*args, **options)
            finally:
                leave()

        return marked

    named = dict(model.named_modules())
    known = [name for name, module in named.items() if is_compiled(module)]
    with ExitStack() as undo:
        for name, module in named.items():
            inside = any(name != one and (not one or name.startswith(f"{one}.")) for one in known)
            if inside or isinstance(module, torch.jit.ScriptModule) or (compiled and not known):
                continue
            if call := module._compiled_call_impl:
                undo.callback(setattr, module, "_compiled_call_impl", call)
                module._compiled_call_impl = around(name, call)
            else:
                entering = module.register_forward_pre_hook(lambda *_, name=name: enter(name), prepend=True)
                undo.callback(entering.remove)
                undo.callback(module.register_forward_hook(leave, always_call=True).remove)
        yield

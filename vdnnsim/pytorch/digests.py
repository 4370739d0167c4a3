"""Digests by which a plan knows the model and the step that it is of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from vdnnsim.captured.step import SavedTensor

if TYPE_CHECKING:
    import torch


def model_sha256(model: torch.nn.Module) -> str:
    """Of the names, shapes and types of all parameters and buffers."""
    both = (("parameter", model.named_parameters()), ("buffer", model.named_buffers()))
    return _sha256(
        f"{what} {name} {tuple(tensor.shape)} {tensor.dtype}" for what, tensors in both for name, tensor in tensors
    )


def order_sha256(saved: Iterable[SavedTensor]) -> str:
    """Of the types and geometries of all saved tensors, in order."""
    return _sha256(f"{one.dtype} {one.shape} {one.stride} {one.offset_bytes}" for one in saved)


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

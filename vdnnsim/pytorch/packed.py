"""What is noted of tensors that autograd saves. Knows no PyTorch."""

from __future__ import annotations

from typing import NamedTuple


class Packed(NamedTuple):
    """What was seen of a tensor when it was saved. `address` is its storage's, 0 where it has none on the device;
    `weight_copy`: it is a parameter in another type, as autocast makes them."""

    address: int
    storage_bytes: int
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset_bytes: int
    version: int
    weight_copy: bool
    module: str


class Label(NamedTuple):
    """By which node of the graph a tensor was saved, and as what."""

    node: str
    attribute: str

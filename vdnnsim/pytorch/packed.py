"""What is noted of tensors that autograd saves. Knows no PyTorch."""

from __future__ import annotations

from typing import NamedTuple


class Packed(NamedTuple):
    """What was seen of a tensor when it was saved. `address` is its storage's, 0 where it has none on the device;
    `stays` says why it must stay, as far as the tensor itself tells: it is a parameter in another type, as autocast
    makes them ("weight copy"), or of a kind that no bytes alone make up ("no plain tensor")."""

    address: int
    storage_bytes: int
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset_bytes: int
    stays: str
    module: str


class Label(NamedTuple):
    """By which node of the graph a tensor was saved, and as what."""

    node: str
    attribute: str

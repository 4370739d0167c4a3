"""Any PyTorch model: capture a training step of it."""

from importlib.util import find_spec

from vdnnsim.errors import InvalidInput

if find_spec("torch") is None:
    raise InvalidInput("vdnnsim.pytorch: found no PyTorch, expected it; pip install torch")

from vdnnsim.pytorch.capturing import capture

__all__ = ["capture"]

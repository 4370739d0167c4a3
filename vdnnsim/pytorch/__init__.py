"""Any PyTorch model: capture a training step of it, and train it by a plan."""

from importlib.util import find_spec

from vdnnsim.errors import InvalidInput

if find_spec("torch") is None:
    raise InvalidInput("vdnnsim.pytorch: found no PyTorch, expected it; pip install torch")

from vdnnsim.pytorch.capturing import capture
from vdnnsim.pytorch.counting import OffloadReport, OffloadWarning
from vdnnsim.pytorch.measuring import Measurement, measure
from vdnnsim.pytorch.offloading import offload
from vdnnsim.pytorch.saved import ChangedInPlace

__all__ = ["ChangedInPlace", "Measurement", "OffloadReport", "OffloadWarning", "capture", "measure", "offload"]

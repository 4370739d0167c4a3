"""cuDNN with the algorithm chosen by name: what the real machine's kernels are made of. Needs an NVIDIA GPU to run."""

from vdnnsim.machines.real.cudnn_convolution import ALGORITHMS, Convolution
from vdnnsim.machines.real.cudnn_handle import Cudnn, Tensor4
from vdnnsim.machines.real.cudnn_layers import Activation, BatchNorm, LocalResponse, Pooling, Softmax
from vdnnsim.machines.real.cudnn_library import AlgorithmRefused, CudnnFailure

__all__ = [
    "ALGORITHMS",
    "Activation",
    "AlgorithmRefused",
    "BatchNorm",
    "Convolution",
    "Cudnn",
    "CudnnFailure",
    "LocalResponse",
    "Pooling",
    "Softmax",
    "Tensor4",
]

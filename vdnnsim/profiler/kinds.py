"""Classes of kernels, by the names that PyTorch's operators and CUDA's kernels have: what a kernel's slowdown beside
copies goes by."""

from __future__ import annotations

import re

_OPTIMISER = "optimiser"
KINDS = (
    "gemm",
    "convolution",
    "attention",
    "normalisation",
    "elementwise",
    "reduction",
    "copy",
    _OPTIMISER,
    "other",
)
_BY_KERNEL = (
    ("copy", r"^(memcpy|memset)\b|^mem(cpy|set)"),
    (_OPTIMISER, r"fusedadam|fused_adam|fusedsgd|fused_sgd|fusedoptimizer|multi_tensor_apply.*(adam|sgd|lamb)"),
    ("attention", r"fmha|flash|sdpa|attention"),
    ("normalisation", r"(batch|layer|group|rms|instance)_?norm|rowwisemoments|gammabeta|(bn|norm)_(fw|bw)"),
    ("elementwise", r"^triton_poi_"),
    ("reduction", r"^triton_(red|per)_"),
    ("convolution", r"conv|implicit|fprop|dgrad|wgrad|winograd|nchwtonhwc|nhwctonchw|cudnn.*(nhwc|nchw)"),
    ("gemm", r"gemm|gemv|cublas|cutlass|nvjet|splitk|dot_kernel"),
    ("reduction", r"reduce|softmax|nll_loss|cross_entropy|cunn_|scan|sort|topk|argmax|max_pool|maxpool|avg_pool"),
    ("copy", r"\bcopy|direct_copy|_copy_|cat(array|batched)|fillfunctor|transpose"),
    (
        "elementwise",
        r"elementwise|dropout|vectorized|foreach|multi_tensor|gelu|relu|index|gather|scatter|embedding|distribution|where",
    ),
)
_BY_OPERATOR = (
    (_OPTIMISER, r"fused_(adam|sgd|adagrad)"),
    ("attention", r"attention|sdpa|safe_softmax"),
    ("convolution", r"conv"),
    ("normalisation", r"batch_norm|layer_norm|group_norm|rms_norm|instance_norm"),
    ("gemm", r"(^|_)(add)?(mm|bmm|mv|matmul|baddbmm|linear|dot)(_|$)|einsum|mkldnn_linear"),
    ("copy", r"copy|clone|(^|_)cat$|stack|contiguous|(^|_)fill|zero_?$|zeros|ones|full"),
    (
        "reduction",
        r"sum|mean|softmax|nll_loss|cross_entropy|max_pool|avg_pool|argmax|norm|(^|_)(max|min|all|any|var|std)(_|$)",
    ),
    ("elementwise", r"."),
)


def kind_of(name: str, operator: str, in_optimiser: bool, host_runs_kernels: bool) -> str:
    """The class of a kernel of an operator; on the CPU operators are kernels themselves."""
    return kind_of_operator(name, in_optimiser) if host_runs_kernels else kind_of_kernel(name, operator, in_optimiser)


def kind_of_kernel(name: str, operator: str, in_optimiser: bool) -> str:
    """The class of a GPU's kernel: by its own name, or where that says nothing by the operator that launches it."""
    for kind, pattern in _BY_KERNEL:
        if re.search(pattern, name, re.IGNORECASE):
            return _OPTIMISER if in_optimiser and kind == "elementwise" else kind
    return kind_of_operator(operator, in_optimiser) if operator.startswith("aten::") else "other"


def kind_of_operator(name: str, in_optimiser: bool) -> str:
    """The class of an operator that is a kernel itself, on the CPU."""
    if not name.startswith("aten::"):
        return "other"
    kind = next(kind for kind, pattern in _BY_OPERATOR if re.search(pattern, name.removeprefix("aten::")))
    return _OPTIMISER if in_optimiser and kind in ("elementwise", "reduction") else kind

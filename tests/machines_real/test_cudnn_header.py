"""The binding's table of signatures against cuDNN's own header files, where the nvidia-cudnn package is installed."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from vdnnsim.machines.real.cudnn_convolution import _DEFAULT_MATH, _FMA_MATH, ALGORITHMS
from vdnnsim.machines.real.cudnn_library import SIGNATURES

ENUM_PREFIXES = {
    "forward": "CUDNN_CONVOLUTION_FWD_ALGO_",
    "backward_data": "CUDNN_CONVOLUTION_BWD_DATA_ALGO_",
    "backward_filter": "CUDNN_CONVOLUTION_BWD_FILTER_ALGO_",
}


@pytest.fixture(scope="module")
def header() -> str:
    if importlib.util.find_spec("nvidia") is None or (package := importlib.util.find_spec("nvidia.cudnn")) is None:
        pytest.skip("the nvidia-cudnn package is not installed")
    folders = [Path(folder, "include") for folder in package.submodule_search_locations or ()]
    texts = [path.read_text() for folder in folders for path in sorted(folder.glob("cudnn_*_v9.h"))]
    if not texts:
        pytest.skip("the nvidia-cudnn package has no header files")
    return re.sub(r"/\*.*?\*/", "", "\n".join(texts), flags=re.S)


def letter_of(parameter: str) -> str:
    kind = re.sub(r"\bconst\b", "", parameter).strip()
    if "*" in kind:
        return "p"
    kind = kind.rsplit(maxsplit=1)[0]
    if kind.endswith("Descriptor_t") or kind in ("cudnnHandle_t", "cudaStream_t"):
        return "p"
    return {"unsigned": "u", "double": "d", "size_t": "z", "int": "i"}.get(kind, "i" if kind.endswith("_t") else "?")


def test_signatures_are_the_declared_ones(header: str) -> None:
    declared = dict(re.findall(r"cudnnStatus_t CUDNNWINAPI\s+(\w+)\((.*?)\);", header, re.S))
    letters = {name: "".join(map(letter_of, declared[name].split(","))) for name in SIGNATURES if name in declared}
    assert letters == SIGNATURES


@pytest.mark.parametrize("pass_", ALGORITHMS)
def test_algorithms_are_numbered_as_declared(header: str, pass_: str) -> None:
    values = dict(re.findall(rf"{ENUM_PREFIXES[pass_]}(\w+)\s*=\s*(\d+)", header))
    assert values.pop("COUNT") == str(len(ALGORITHMS[pass_]))
    # cuDNN's enumerations number two algorithms of backward ("ALGO_0"), and their names then lack the word ALGO
    expected = {name.removeprefix("ALGO_"): str(number) for number, name in enumerate(ALGORITHMS[pass_])}
    assert values == expected


def test_math_types_are_numbered_as_declared(header: str) -> None:
    for name, number in (("DEFAULT_MATH", _DEFAULT_MATH), ("FMA_MATH", _FMA_MATH)):
        assert re.search(rf"CUDNN_{name}\s*=\s*{number}\b", header)

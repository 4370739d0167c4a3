"""Errors keep their data: through pickling, and through SimPy, which rebuilds them as type(error)(*error.args)."""

from __future__ import annotations

import pickle

import pytest

from vdnnsim.errors import Fault, InvalidFile, InvalidInput, MissingTrace, UnknownName, VdnnsimError
from vdnnsim.machines import OutOfMemory
from vdnnsim.memory import InvalidFree, PoolExhausted
from vdnnsim.network import LayerFault

FAULT = Fault("t.csv", 7, "duration_ns", "'-1'", "a whole number")
ERRORS: list[VdnnsimError] = [
    VdnnsimError("plain"),
    InvalidInput("batch: found 0, expected 1 or more"),
    UnknownName("policy", "vdn", ["vdnn-all", "oracle"]),
    InvalidFile([FAULT, Fault("t.csv", None, "header", "nothing", "a header")]),
    MissingTrace("vgg16 batch 7", ["vgg16 batch 64"], "Make one."),
    LayerFault("conv1", "kernel", "9", "a window that fits"),
    OutOfMemory("conv1 forward", "map:conv1", 100, 1000, {"weights": 950}, 50, 50),
    PoolExhausted(100, 1000, 950, 50),
    InvalidFree(512, 3),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_rebuilt_from_args_an_error_is_the_same(error: VdnnsimError) -> None:
    for again in (type(error)(*error.args), pickle.loads(pickle.dumps(error))):
        assert type(again) is type(error)
        assert again.args == error.args
        assert str(again) == str(error)
        assert again.exit_code == 2


def test_what_each_says() -> None:
    assert [str(error) for error in ERRORS] == [
        "plain",
        "batch: found 0, expected 1 or more",
        "unknown policy 'vdn'; did you mean 'vdnn-all'? Known: vdnn-all, oracle",
        "t.csv:7: duration_ns: found '-1'; expected a whole number\nt.csv: header: found nothing; expected a header",
        "no trace for vgg16 batch 7. There are:\n  vgg16 batch 64\nMake one.",
        "layer 'conv1': kernel: found 9; expected a window that fits",
        "out of memory in conv1 forward: no room for 100 B (map:conv1); of 1.0 KB in use: weights 950 B; "
        "largest hole 50 B",
        "out of device memory, not enough free memory: requested 100 bytes, in use 950 bytes of 1000 bytes (1.0 KB), "
        "free 50 bytes, largest hole 50 bytes",
        "free of address 512: no live block starts there (3 are live); it was freed before or never allocated",
    ]


def test_faults_keep_their_parts() -> None:
    error = InvalidFile([FAULT])
    assert error.faults == (FAULT,)
    assert (FAULT.file, FAULT.line, FAULT.field) == ("t.csv", 7, "duration_ns")


def test_many_faults_are_told_in_a_few_lines() -> None:
    text = str(InvalidFile([FAULT] * 1000))
    assert len(text.splitlines()) == 21
    assert text.endswith("... and 980 more faults")


def test_out_of_memory_tells_pieces_from_lack() -> None:
    assert OutOfMemory("x", "b", 100, 1000, {}, 50, 200).fragmented
    assert not OutOfMemory("x", "b", 100, 1000, {}, 50, 99).fragmented

"""Errors keep their data: through pickling, and through SimPy, which rebuilds them as type(error)(*error.args)."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from vdnnsim.errors import (
    CannotWrite,
    Fault,
    InvalidFile,
    InvalidInput,
    InvalidValue,
    MissingTrace,
    UnknownName,
    VdnnsimError,
)
from vdnnsim.machines import OutOfMemory
from vdnnsim.memory import InvalidFree, PoolExhausted
from vdnnsim.network import LayerFault

FAULT = Fault("t.csv", 7, "duration_ns", "'-1'", "a whole number")
ERRORS: list[VdnnsimError] = [
    VdnnsimError("plain"),
    InvalidInput("batch: found 0, expected 1 or more"),
    InvalidValue("batch", "0", "1 or more"),
    CannotWrite("/dev/full", "No space left on device", "choose a writable folder"),
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
        "batch: found 0, expected 1 or more",
        "cannot write /dev/full: No space left on device; choose a writable folder",
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


def test_errors_have_their_parts_as_fields() -> None:
    """Nobody takes a sentence apart for them."""
    value = InvalidValue("filters[0]", "'16'", "text with a unit, as '16 GB'")
    assert (value.what, value.found, value.expected) == ("filters[0]", "'16'", "text with a unit, as '16 GB'")
    write = CannotWrite("a.csv", "No space left on device", "choose a writable folder")
    assert (write.path, write.why) == ("a.csv", "No space left on device")
    missing = MissingTrace("vgg16 batch 7", ["vgg16 batch 64"], "Make one.").but("vgg16 batch 9")
    assert missing.args == ("vgg16 batch 9", ("vgg16 batch 64",), "Make one.")
    memory = OutOfMemory("conv1 forward", "map:conv1", 100, 1000, {"weights": 950}, 50, 50)
    assert (memory.where, memory.buffer) == ("conv1 forward", "map:conv1")
    assert str(memory).startswith(f"{memory.in_short}; of ")


ROOMS = Path(__file__).parent.parent
TAKEN_APART = re.compile(
    r"str\((error|failure)\)\.|\b(reason|verdict)\.(r?partition|split|removeprefix|removesuffix)\("
)


def test_no_sentence_is_taken_apart() -> None:
    for room in ("vdnnsim", "experiments", "traces"):
        for path in (ROOMS / room).rglob("*.py"):
            assert not TAKEN_APART.search(path.read_text(encoding="utf-8")), path

"""Memory snapshots of PyTorch: blocks and their lives, and pickles of which nothing is run."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.commands import in_process
from support.damage import damaged, read_or_refuse
from vdnnsim import InvalidFile
from vdnnsim.readers.memory_snapshot import read_snapshot

A, B, C = 0x7F0000000000, 0x7F0000000400, 0x7F0000000C00


def event(action: str, address: int, size: int, at: int, line: int = 1) -> dict[str, Any]:
    frames = [
        {"filename": "/usr/lib/python3/site-packages/torch/nn/modules/linear.py", "line": 1, "name": "forward"},
        {"filename": "train.py", "line": line, "name": "step"},
    ]
    return {"action": action, "addr": address, "size": size, "stream": 0, "time_us": at, "frames": frames}


def snapshot() -> dict[str, Any]:
    """A is there before and in the end; B is there before and given back; C is taken and given back."""
    blocks = [{"size": 1024, "state": "active_allocated"}, {"size": 7168, "state": "inactive"}]
    segment = {"device": 0, "address": A, "total_size": 8192, "stream": 0, "segment_type": "small", "blocks": blocks}
    events = [
        event("alloc", C, 4096, 10, line=7),
        {"action": "oom", "size": 1 << 40, "device_free": 0, "stream": 0},
        event("free_requested", B, 2048, 20),
        event("free_completed", B, 2048, 21),
        event("free_completed", C, 4096, 30),
    ]
    return {"segments": [segment], "device_traces": [events]}


def written(document: object, path: Path) -> Path:
    path.write_bytes(pickle.dumps(document, protocol=4))
    return path


def test_blocks_live_from_event_to_event(tmp_path: Path) -> None:
    found = read_snapshot(written(snapshot(), tmp_path / "s.pickle"))
    lives = {block.address: (block.size_bytes, block.taken, block.given, block.given_us) for block in found.blocks}
    assert lives == {A: (1024, -1, None, None), B: (2048, -1, 3, 21), C: (4096, 0, 4, 30)}
    assert {block.address: block.frame for block in found.blocks}[C] == "train.py:7 step"
    assert (found.peak_bytes, found.peak_event, found.out_of_memory) == (1024 + 2048 + 4096, (0, 0), 1)
    assert {block.address for block in found.at_peak()} == {A, B, C}


def test_import_writes_tables_and_says_what_is_missing(tmp_path: Path) -> None:
    path, out = written(snapshot(), tmp_path / "s.pickle"), tmp_path / "out"
    done = in_process(["import", str(path), "--out", str(out)])
    assert (done.code, done.err) == (0, "")
    assert "peak 7.2 KB at event 0: 4.1 KB of train.py:7 step" in done.out
    assert "not told: kernels, copies and their times: no step can be made of it" in done.out
    with (out / "blocks.csv").open(newline="") as table:
        assert [row["given"] for row in csv.DictReader(table)] == ["", "3", "4"]
    assert in_process(["import", str(path), "--out", str(out)]).code == 0  # in place of its own


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("kind", [[], ["--kind", "memory-snapshot"]])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(kind: list[str], tmp_path: Path) -> None:
    target = tmp_path / "ran"
    path = written({"segments": [Malicious(target)], "device_traces": []}, tmp_path / "s.pickle")
    done = in_process(["import", str(path), "--out", str(tmp_path / "out"), *kind])
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "found a pickle that would call 'pathlib" in done.err
    assert "of which nothing was run; expected plain data" in done.err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["s.pickle"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([1, 2], "found other data"),
        ({"segments": [], "device_traces": 3}, "found other data"),
        ({"segments": [{"device": 0}], "device_traces": []}, "found one without 'address'"),
        ({"segments": [{**snapshot()["segments"][0], "device": 10**9}], "device_traces": []}, "device 1000000000"),
        ({"segments": [], "device_traces": [[event("alloc", A, -5, 0)]]}, "-5 where a number of bytes belongs"),
        ({"segments": [], "device_traces": [[{**event("alloc", A, 5, 0), "frames": [{}]}]]}, "without 'filename'"),
    ],
)
def test_other_data_is_refused(document: object, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidFile) as caught:
        read_snapshot(written(document, tmp_path / "s.pickle"))
    assert told in str(caught.value)


@settings(max_examples=40)
@given(st.data())
def test_damaged_pickles_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.pickle"
    path.write_bytes(data.draw(damaged(pickle.dumps(snapshot(), protocol=4))))
    read_or_refuse(read_snapshot, path)

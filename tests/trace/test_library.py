"""Finding traces: in a folder of the user's, or among those that came with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.small_trace import NETWORK, TABLE
from vdnnsim.errors import MissingTrace
from vdnnsim.network import load_network
from vdnnsim.trace import find_trace, list_traces, read_trace, trace_path, write_trace


@pytest.fixture
def folder(tmp_path: Path, table: Path) -> Path:
    """A folder of traces with one in it."""
    trace = read_trace(table, NETWORK)
    path = trace_path(tmp_path / "mine", "test-gpu", "small", 1, "fp32")
    path.parent.mkdir(parents=True)
    write_trace(trace, path)
    return tmp_path / "mine"


def test_a_trace_is_found_by_what_it_is_of(folder: Path) -> None:
    trace = find_trace(NETWORK, "test-gpu", "fp32", [folder])
    assert len(trace.rows) == len(TABLE.splitlines()) - 1
    assert [(path.name, header.title) for path, header in list_traces([folder])] == [
        ("small_b1_fp32.csv", "small batch 1 on test-gpu, fp32")
    ]


def test_the_first_folder_that_has_it_wins(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert find_trace(NETWORK, "test-gpu", "fp32", [tmp_path / "empty", folder]).header.network == "small"


def test_what_is_missing_is_told_with_what_there_is(folder: Path) -> None:
    with pytest.raises(MissingTrace) as caught:
        find_trace(NETWORK, "test-gpu", "tf32", [folder])
    message = str(caught.value)
    assert message.startswith(
        "no trace for small batch 1 on test-gpu, tf32. There are:\n  small batch 1 on test-gpu, fp32\n"
        "Make one on that GPU with 'vdnnsim calibrate trace FILE.toml "
        "--batch 1 --math tf32 --name test-gpu --out FILE.csv'"
    )


def missing(network: str, gpu: str, math: str = "fp32") -> MissingTrace:
    with pytest.raises(MissingTrace) as caught:
        find_trace(load_network(network, 7), gpu, math)
    return caught.value


def test_what_is_missing_is_told_with_what_is_near() -> None:
    """Of this network first, on this GPU first; then all of this GPU, and nothing else."""
    _, available, advice = missing("googlenet", "h200").args
    every = [header for _, header in list_traces() if header.network == "googlenet" or header.gpu == "h200"]
    assert list(available[:3]) == [
        "googlenet batch 128 on h200, fp32",
        "googlenet batch 128 on h200, tf32",
        "googlenet batch 128 on h100, fp32",
    ]
    assert sorted(available) == sorted(header.title for header in every)
    assert "vdnnsim calibrate trace googlenet --batch 7 --math fp32 --name h200 --out" in advice
    assert "vdnnsim.builder" not in advice


def test_the_builder_is_advised_for_the_gpu_that_it_models_alone() -> None:
    assert "python -m vdnnsim.builder vgg16 --batch 7 --out DIR" in missing("vgg16", "titan-x-maxwell").args[2]
    assert "are fp32" in missing("vgg16", "titan-x-maxwell", "tf32").args[2]
    assert len(missing("vgg16", "mine").args[1]) < 15


def test_every_trace_that_came_with_the_package_fits_its_network() -> None:
    found = 0
    for path, header in list_traces():
        network = load_network(header.network, header.batch)
        trace = read_trace(path, network)
        assert path == trace_path(path.parent.parent, header.gpu, header.network, header.batch, header.math)
        assert trace.header == header
        assert {entry.source for entry in trace.rows} <= set(header.sources)
        found += 1
    assert found >= 10

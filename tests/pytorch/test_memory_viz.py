"""PyTorch's own tool opens the snapshots of simulated runs."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import torch.cuda._memory_viz as viz  # type: ignore[import-untyped]

from captured.steps import three_layers
from vdnnsim import compare, load_profile, write_snapshot


def test_pytorchs_tool_reads_what_a_run_writes(tmp_path: Path) -> None:
    path = tmp_path / "s.pickle"
    comparison = compare("alexnet", batch=128, gpu="titan-x-maxwell", policies="vdnn-all(m)")
    write_snapshot(comparison.runs[0], comparison, path)
    snapshot = pickle.loads(path.read_bytes())
    reserved_bytes = sum(segment["total_size"] for segment in snapshot["segments"])
    assert reserved_bytes == comparison.runs[0].result.pool_high_water_bytes
    assert f"total_reserved: {viz.Bytes(reserved_bytes)}" in viz.segsum(snapshot)  # which adds up tiles itself
    trace = viz.trace(snapshot)
    allocations = sum(record.taken and record.size_bytes > 0 for record in comparison.runs[0].timeline.memory)
    assert sum(" = a[" in line for line in trace.splitlines()) == allocations
    assert trace.startswith("Device 0 ---")
    for view in (viz.segments, viz.memory):  # lines for a flame graph
        assert "alexnet:0:set-up;weights:0:weights:conv1" in view(snapshot, lambda lines: lines)
    command = [sys.executable, "-m", "torch.cuda._memory_viz", "trace_plot", str(path), "-o", str(tmp_path / "o.html")]
    subprocess.run(command, check=True, capture_output=True)
    assert "MemoryViz.js" in (tmp_path / "o.html").read_text(encoding="utf-8")


def test_and_that_of_a_captured_step(tmp_path: Path) -> None:
    step = three_layers()
    text = (Path(__file__).parents[2] / "gpu_profiles" / "h200.toml").read_text(encoding="utf-8")
    (tmp_path / "gpu.toml").write_text(text.replace('name = "h200"', 'name = "test-gpu"'), encoding="utf-8")
    comparison = compare(step, gpu=load_profile(tmp_path / "gpu.toml"), policies="offload")
    write_snapshot(comparison.runs[0], comparison, tmp_path / "s.pickle")
    snapshot = pickle.loads((tmp_path / "s.pickle").read_bytes())
    assert "segments: 1\n" in viz.segsum(snapshot)
    assert "active_allocated;three:0:set-up;parameter:0:b0 1048576" in viz.memory(snapshot, lambda lines: lines)
    modules = {entry["frames"][1]["name"] for entry in snapshot["device_traces"][0] if entry["frames"]}
    assert {"set-up", "layers.0 forward", "layers.0 backward"} <= modules

"""How long a trace of torch.profiler of 200 MB takes to import, and how much memory: below 60 s and 2 GB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.kineto import ENGINE, MAIN, GpuTrace

FILE_BYTES = 200_000_000
MOST_S, MOST_BYTES = 60, 2_000_000_000
LAYERS = 1000
BLOCK_BYTES = 2 << 20
TOLD: dict[str, dict[str, Any]] = {
    "kernel": {"device": 0, "context": 1, "registers per thread": 64, "grid": [128, 1, 1], "block": [256, 1, 1]},
    "cpu_op": {"External id": 1, "Record function id": 0, "Input Dims": [[256, 1024], [1024, 1024], []]},
    "cuda_runtime": {"External id": 1, "cbid": 211},
}
"""What events have besides, which makes most of a file."""
IMPORT = """
import resource, sys, time
from pathlib import Path
from vdnnsim.readers.kineto import read_kineto
step = read_kineto(Path(sys.argv[1])).what
print(len(step.kernels), time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def write_step(trace: GpuTrace, number: int) -> None:
    first = number * LAYERS
    with trace.range(f"ProfilerStep#{number}", "user_annotation"):
        for layer in range(LAYERS):
            with (
                trace.range("aten::linear", sequence=first + layer),
                trace.range("aten::addmm", sequence=first + layer),
            ):
                trace.memory((layer + 1) << 22, BLOCK_BYTES)
                trace.launch("cutlass_80_tensorop_s1688gemm_256x128_16x3_tn_align4", 50)
        trace.thread = ENGINE
        for layer in reversed(range(LAYERS)):
            node = trace.range("autograd::engine::evaluate_function: AddmmBackward0", sequence=first + layer)
            with node, trace.range("AddmmBackward0", sequence=first + layer):
                trace.launch("cutlass_80_wgrad", 80)
                trace.memory((layer + 1) << 22, -BLOCK_BYTES)
        trace.thread = MAIN
        trace.synchronize()


def write_trace(path: Path) -> int:
    """Steps until the file is large enough; returns how many events there are."""
    trace, events = GpuTrace(), 0
    with path.open("w") as target:
        target.write('{"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "NVIDIA H200"}], "traceEvents": [\n')
        for number in range(1000):
            write_step(trace, number)
            for event in trace.events:
                event["args"] |= TOLD.get(event["cat"], {})
                target.write(("" if events == 0 else ",\n") + json.dumps(event, indent=2))
                events += 1
            trace.events.clear()
            if target.tell() >= FILE_BYTES:
                break
        target.write("\n]}")
    return events


def test_a_large_trace_is_imported_in_time_and_memory(tmp_path: Path) -> None:
    events = write_trace(tmp_path / "large.json")
    command = [sys.executable, "-c", IMPORT, str(tmp_path / "large.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kernels, cpu_s, peak_bytes = (float(number) for number in done.stdout.split())
    print(f"\n{events} events: {cpu_s:.1f} s of at most {MOST_S}, {peak_bytes / 1e9:.2f} GB of {MOST_BYTES / 1e9:.0f}")
    assert kernels == 2 * LAYERS
    assert cpu_s < MOST_S
    assert peak_bytes < MOST_BYTES

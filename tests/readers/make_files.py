"""Makes `examples/profiler_trace.json.gz`: `python tests/readers/make_files.py`.

A real trace of PyTorch's profiler on a CPU: three Linear with ReLU behind each, 64 wide, batch 256, two steps; without
what says on which machine it was made.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

STEPS, WIDTH, BATCH, LAYERS = 2, 64, 256, 3
TARGET = Path(__file__).parents[2] / "examples" / "profiler_trace.json.gz"
_KEPT = ("schemaVersion", "deviceProperties", "displayTimeUnit")


def main() -> None:
    torch.set_num_threads(1)
    layers = [module for _ in range(LAYERS) for module in (torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU())]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(BATCH, WIDTH)

    def step() -> None:
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()

    step()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/trace.json"
        with profile(
            activities=[ProfilerActivity.CPU],
            profile_memory=True,
            schedule=schedule(wait=0, warmup=1, active=STEPS),
            on_trace_ready=lambda profiler: profiler.export_chrome_trace(path),
        ) as profiler:
            for _ in range(STEPS + 1):
                step()
                profiler.step()
        document = json.loads(Path(path).read_bytes())
    kept = {name: document[name] for name in _KEPT} | {"traceEvents": document["traceEvents"], "traceName": "trace"}
    with gzip.GzipFile(TARGET, "wb", compresslevel=9, mtime=0) as target:
        target.write(json.dumps(kept, separators=(",", ":")).encode())


if __name__ == "__main__":
    main()

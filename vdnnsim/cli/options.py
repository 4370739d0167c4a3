"""The options that several commands share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vdnnsim.cli import completing

Network = Annotated[
    str,
    typer.Argument(
        help="A network by name (see 'vdnnsim list networks'), or the path of a TOML file.",
        autocompletion=completing.networks,
    ),
]
Workload = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK|DIR",
        autocompletion=completing.networks,
        help="A network by name (see 'vdnnsim list networks'), the path of its TOML file, or the folder of a captured "
        "training step.",
    ),
]
Batch = Annotated[int, typer.Option("--batch", help="Images in one iteration.", min=1)]
OwnBatch = Annotated[
    int | None,
    typer.Option("--batch", help="Images in one iteration of a network; captured steps have theirs.", min=1),
]
Tokens = Annotated[
    int | None,
    typer.Option(
        "--tokens", help="The length of a sequence, of captured steps that vary it (--vary tokens=...).", min=1
    ),
]
Policy = Annotated[
    str,
    typer.Option(
        "--policy",
        autocompletion=completing.policies,
        help="One policy by name, with parameters as in 'offload(which=half)', module:Class of your own, or a plan's "
        "file (.json).",
    ),
]
GPU_HELP = "A GPU by name (see 'vdnnsim list gpus'), or the path of a profile."
Gpu = Annotated[str, typer.Option("--gpu", help=GPU_HELP, autocompletion=completing.gpus)]
Capacity = Annotated[
    str | None, typer.Option("--capacity", help="Device memory instead of the GPU's: 12GB (10^9), 12GiB (2^30).")
]
LinkBandwidth = Annotated[
    str | None, typer.Option("--link-bandwidth", help="What large copies reach in each direction: 16GB/s.")
]
LinkBandwidthOut = Annotated[
    str | None, typer.Option("--link-bandwidth-out", help="What large copies to the host reach: 16GB/s.")
]
LinkBandwidthIn = Annotated[
    str | None, typer.Option("--link-bandwidth-in", help="What large copies from the host reach: 16GB/s.")
]
LinkLatency = Annotated[str | None, typer.Option("--link-latency", help="What the smallest copy takes: 10us.")]
Numa = Annotated[
    str, typer.Option("--numa", help="Where the host's memory is: local to the GPU, or remote, on another socket.")
]
ComputeScale = Annotated[
    float, typer.Option("--compute-scale", help="How much faster kernels are; 2 is twice as fast.")
]
HostScale = Annotated[
    float, typer.Option("--host-scale", help="How much longer the host's calls take; 2 is twice as long.")
]
PinnedBudget = Annotated[
    str | None, typer.Option("--pinned-budget", help="What the host can pin: 64GB; 0 for one that cannot.")
]
Math = Annotated[str, typer.Option("--math", help="Math mode of the trace: fp32 or tf32.")]
OwnMath = Annotated[
    str | None,
    typer.Option("--math", help="Math mode of a network's trace: fp32 (the default) or tf32."),
]
Pool = Annotated[
    str | None,
    typer.Option(
        "--pool",
        help="best-fit (cnmem; for networks, where not named), first-fit, pytorch-caching (for captured steps), or "
        "module:Class of your own.",
    ),
]
WeightGradients = Annotated[
    str,
    typer.Option(
        "--weight-gradients", help="per-layer: freed after the layer's backward; resident: all kept; none: not counted."
    ),
]
TraceFile = Annotated[
    Path | None, typer.Option("--trace", help="The table (CSV) of a trace of your own instead of a built-in one.")
]
TraceFiles = Annotated[
    list[Path] | None,
    typer.Option("--trace", help="The table (CSV) of a trace of your own, to take first; may be given more than once."),
]
TraceFolders = Annotated[
    list[Path] | None,
    typer.Option("--traces", help="A folder of traces to look in first; may be given more than once."),
]
Gpus = Annotated[
    int | None,
    typer.Option("--gpus", help="So many GPUs of one host at once, whose copies share its links.", min=1, max=1024),
]
Topology = Annotated[
    str | None,
    typer.Option(
        "--topology", help="The host of --gpus: by name (see 'vdnnsim list topologies'), or the path of a TOML file."
    ),
]
Start = Annotated[
    str,
    typer.Option(
        "--start", help="When --gpus begin: together, or staggered, every second one half an iteration later."
    ),
]
AllReduce = Annotated[
    str | None,
    typer.Option("--all-reduce", help="What --gpus take to sum gradients: 5ms, or 450GB/s a GPU for a ring."),
]
Figure = Annotated[Path | None, typer.Option("--figure", help="Write a figure: .png, .pdf or .svg.")]
Timeline = Annotated[
    str | None, typer.Option("--timeline", help="Write a timeline (Chrome trace JSON) to open in Perfetto; - as above.")
]
Snapshot = Annotated[
    Path | None,
    typer.Option("--snapshot", help="Write a memory snapshot of PyTorch (.pickle), for its viewers of memory."),
]
Chakra = Annotated[
    Path | None,
    typer.Option("--chakra", help="Write a Chakra execution trace (.et), with loads and stores for the copies."),
]
Json = Annotated[str | None, typer.Option("--json", help="Write all numbers as JSON; - writes only them to stdout.")]
Csv = Annotated[
    str | None, typer.Option("--csv", help="Write one row per policy as CSV; - writes only them to stdout.")
]
LayersCsv = Annotated[
    str | None, typer.Option("--csv", help="Write one row per layer as CSV; - writes only them to stdout.")
]
Power = Annotated[bool, typer.Option("--power", help="Show what an iteration draws: joules and watts.")]
Explain = Annotated[bool, typer.Option("--explain", help="Show every trial of vdnn-dyn, and why it was not taken.")]

"""What each command's help shows at its end, and what `vdnnsim` alone says: commands that work as they stand, or do so
with a file of one's own in place."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

BEGIN: Mapping[str, str] = MappingProxyType(
    {
        "vdnnsim advise vgg16 --gpu titan-x-maxwell": "does offloading pay, and what should be set?",
        "vdnnsim compare vgg16 --batch 256 --gpu titan-x-maxwell": "policies side by side: memory, time, what binds",
        "vdnnsim capture my_train.py:make --out my_step": "a PyTorch model of your own, for advise and compare",
    }
)
"""To begin with."""
EXAMPLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "advise": ("vgg16 --gpu titan-x-maxwell", "my_step --gpu h100 --capacity 40GB --figure advice.png"),
        "compare": (
            "vgg16 --batch 256 --gpu titan-x-maxwell --figure vgg16.png",
            "vgg16 --batch 64 --gpu h200 --capacity 4GB --policies 'vdnn-dyn, torchtune(stash=2), offload(which=half)'",
            "my_step --gpu h100 --policies runtimes --csv -",
            "vgg16 --batch 64 --gpu h100 --gpus 8 --topology pcie5-one-memory",
        ),
        "run": (
            "alexnet --batch 128 --gpu titan-x-maxwell --policy 'vdnn-all(m)'",
            "vgg16 --batch 256 --gpu titan-x-maxwell --policy vdnn-dyn --snapshot memory.pickle",
        ),
        "page": ("vgg16 --batch 256 --gpu titan-x-maxwell --out report.html",),
        "memory-map": ("vgg16 --batch 256 --gpu titan-x-maxwell --policy 'vdnn-all(m)' --out map.pdf",),
        "diff": ("before.json after.json", "before.json after.json --fail-over 2%"),
        "capture": (
            "my_train.py:make --out my_step",
            "examples/pytorch_gpt.py:make_tiny --device cpu --vary batch=2,4,8 --out gpt",
        ),
        "plan": ("my_step --gpu h100 --policy vdnn-dyn --capacity 40GB --out plan.json",),
        "import": ("trace.json.gz --out my_step", "report.sqlite --out tables"),
        "replay": ("logged --budgets 50% --heuristics dtr,lru",),
        "list": ("networks", "gpus", "policies"),
        "check": ("examples/tiny.toml", "my-gpu.toml traces/h200/alexnet_b128_fp32.csv"),
        "model-trace": ("vgg16 --batch 64 --from h200 --to a100-80-pcie --out a100.csv",),
        "reproduce": ("--out out/paper",),
        "calibrate link": ("--name my-gpu --out my-gpu.toml", "--device cpu --out cpu.toml"),
        "calibrate trace": ("alexnet --batch 128 --name my-gpu --out alexnet.csv",),
        "calibrate run": ("alexnet --batch 128 --gpu my-gpu.toml --trace alexnet.csv --policy 'vdnn-all(p)'",),
        "calibrate report": ("my-cases.toml --out my-gpu",),
        "calibrate pytorch": ("my_train.py:make --gpu my-gpu.toml --out my_step_measured",),
        "calibrate doctor": ("",),
        "sweep run": ("examples/sweep.toml --out out/sweep", "examples/sweep.toml --dry-run"),
        "sweep status": ("out/sweep",),
        "sweep export": ("out/sweep --out points.csv",),
        "sweep plot": ("out/sweep --out link-memory.png",),
        "solve largest-batch": ("vgg16 --gpu titan-x-maxwell --policy 'vdnn-conv(p)'",),
        "solve smallest-capacity": ("vgg16 --batch 128 --gpu titan-x-maxwell --policy vdnn-dyn --loss 5%",),
        "solve smallest-link": ("alexnet --batch 128 --gpu titan-x-maxwell --policy 'vdnn-conv(p)' --loss 5%",),
    }
)
"""By command, without "vdnnsim" and its name."""


def beginning() -> str:
    """What `vdnnsim` alone says."""
    shown = [f"  {command}\n      {what}" for command, what in BEGIN.items()]
    rest = "'vdnnsim --help' names every command, 'vdnnsim COMMAND --help' its options, with examples."
    return "\n".join(["Three commands to begin with:", "", *shown, "", rest])


def with_examples(command: Any, name: str) -> Any:
    """A command, or a group of them, whose help ends in its examples."""
    for inner, own in getattr(command, "commands", {}).items():
        with_examples(own, f"{name} {inner}")
    if name in EXAMPLES and not command.epilog:
        lines = [f"  vdnnsim {name} {words}".rstrip() for words in EXAMPLES[name]]
        command.epilog = "\n".join(["\b", "Examples:", *lines])
    return command

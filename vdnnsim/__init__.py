"""vdnnsim: trace-driven simulation of GPU memory virtualisation (vDNN) for training deep networks.

The names in `__all__` are the public ones; docs/api.md says what each is for. They are imported when first used, so
that `import vdnnsim` is quick.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from vdnnsim.errors import Fault, InvalidFile, InvalidInput, MissingTrace, UnknownName, VdnnsimError
    from vdnnsim.figures import comparison_figure, run_figure
    from vdnnsim.gpu import GpuProfile, load_profile
    from vdnnsim.network import Kind, LayerSpec, Network, build_network, load_network
    from vdnnsim.policies import (
        Layout,
        Plan,
        Policy,
        Problem,
        Trial,
        feature_extraction_layers,
        make_plan,
        make_policy,
        memory_optimal,
        performance_optimal,
    )
    from vdnnsim.program import Program, WeightGradients, build_program
    from vdnnsim.results import Comparison, FeatureExtraction, LayerResult, Origin, PolicyResult, PolicyRun
    from vdnnsim.study import Study, compare, compare_policies, make_study
    from vdnnsim.timeline import Timeline
    from vdnnsim.trace import Provenance, Trace, TraceHeader, TraceRow, find_trace, read_trace, write_trace

__all__ = [
    "Comparison",
    "Fault",
    "FeatureExtraction",
    "GpuProfile",
    "InvalidFile",
    "InvalidInput",
    "Kind",
    "LayerResult",
    "LayerSpec",
    "Layout",
    "MissingTrace",
    "Network",
    "Origin",
    "Plan",
    "Policy",
    "PolicyResult",
    "PolicyRun",
    "Problem",
    "Program",
    "Provenance",
    "Study",
    "Timeline",
    "Trace",
    "TraceHeader",
    "TraceRow",
    "Trial",
    "UnknownName",
    "VdnnsimError",
    "WeightGradients",
    "build_network",
    "build_program",
    "compare",
    "compare_policies",
    "comparison_figure",
    "feature_extraction_layers",
    "find_trace",
    "load_network",
    "load_profile",
    "make_plan",
    "make_policy",
    "make_study",
    "memory_optimal",
    "performance_optimal",
    "read_trace",
    "run_figure",
    "write_trace",
]

_ROOMS = MappingProxyType(
    {
        "errors": ("Fault", "InvalidFile", "InvalidInput", "MissingTrace", "UnknownName", "VdnnsimError"),
        "gpu": ("GpuProfile", "load_profile"),
        "network": ("Kind", "LayerSpec", "Network", "build_network", "load_network"),
        "policies": (
            "Layout",
            "Plan",
            "Policy",
            "Problem",
            "Trial",
            "feature_extraction_layers",
            "make_plan",
            "make_policy",
            "memory_optimal",
            "performance_optimal",
        ),
        "program": ("Program", "WeightGradients", "build_program"),
        "figures": ("comparison_figure", "run_figure"),
        "results": ("Comparison", "FeatureExtraction", "LayerResult", "Origin", "PolicyResult", "PolicyRun"),
        "study": ("Study", "compare", "compare_policies", "make_study"),
        "timeline": ("Timeline",),
        "trace": ("Provenance", "Trace", "TraceHeader", "TraceRow", "find_trace", "read_trace", "write_trace"),
    }
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("vdnnsim")
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(importlib.import_module(f"vdnnsim.{room}"), name)
    raise AttributeError(f"module 'vdnnsim' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

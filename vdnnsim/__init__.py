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
    from vdnnsim.advice import Advice, advise
    from vdnnsim.calibration.records import CaseRecord, read_records
    from vdnnsim.captured.files import read_step
    from vdnnsim.captured.step import CapturedStep
    from vdnnsim.carrying import CarriedOver, model_trace
    from vdnnsim.comparing import compare, compare_policies
    from vdnnsim.differences import Change, Difference, LayerChange, diff
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
    from vdnnsim.figures.advice import advice_figure
    from vdnnsim.figures.calibration import calibration_figure
    from vdnnsim.figures.comparison import comparison_figure
    from vdnnsim.figures.difference import difference_figure
    from vdnnsim.figures.memory_map import memory_map
    from vdnnsim.figures.run import run_figure
    from vdnnsim.figures.sweep import plot_sweep
    from vdnnsim.files import whole_file, write_text
    from vdnnsim.gpu import GpuProfile, Roofline, load_profile, load_roofline
    from vdnnsim.iteration import Iteration, Leave, OwnCopy, Remake, Schedule, Waits
    from vdnnsim.making import make_study
    from vdnnsim.memory import BestFitPool, FirstFitPool, Pool, PoolExhausted
    from vdnnsim.network import Kind, Layer, LayerSpec, Network, build_network, load_network, shape_key
    from vdnnsim.pages.calibrating import calibration_page
    from vdnnsim.pages.comparing import comparison_page
    from vdnnsim.pages.sweeping import sweep_page
    from vdnnsim.policies import (
        Layout,
        Plan,
        Policy,
        Problem,
        Trial,
        VdnnDyn,
        feature_extraction_layers,
        make_plan,
        make_policy,
        memory_optimal,
        offload_plan,
        performance_optimal,
        replace_window,
        write_schedule,
    )
    from vdnnsim.processes import Processes, finished, usable_cores
    from vdnnsim.program import Program, WeightGradients, build_program
    from vdnnsim.report.chakra import write_chakra
    from vdnnsim.report.memory_snapshot import write_snapshot
    from vdnnsim.results import Comparison, FeatureExtraction, LayerResult, Origin, PolicyResult, PolicyRun
    from vdnnsim.study import Study
    from vdnnsim.sweep import Sweep, plan_sweep, read_sweep, run_sweep
    from vdnnsim.sweep.solve import Answer, largest_batch, smallest_capacity, smallest_link
    from vdnnsim.timeline import COPY_IN, COPY_OUT, Timeline
    from vdnnsim.together import OnGpu, TogetherComparison, TogetherRun, compare_together
    from vdnnsim.topology import SharedLink, Topology, load_topology, read_topology
    from vdnnsim.trace import (
        DEFAULT_ALGORITHM,
        Provenance,
        Trace,
        TraceHeader,
        TraceRow,
        find_trace,
        list_traces,
        read_header,
        read_trace,
        required_passes,
        trace_path,
        weakest,
        write_trace,
    )
    from vdnnsim.traffic import LayerTraffic, layer_traffic

__all__ = [
    "COPY_IN",
    "COPY_OUT",
    "DEFAULT_ALGORITHM",
    "Advice",
    "Answer",
    "BestFitPool",
    "CannotWrite",
    "CapturedStep",
    "CarriedOver",
    "CaseRecord",
    "Change",
    "Comparison",
    "Difference",
    "Fault",
    "FeatureExtraction",
    "FirstFitPool",
    "GpuProfile",
    "InvalidFile",
    "InvalidInput",
    "InvalidValue",
    "Iteration",
    "Kind",
    "Layer",
    "LayerChange",
    "LayerResult",
    "LayerSpec",
    "LayerTraffic",
    "Layout",
    "Leave",
    "MissingTrace",
    "Network",
    "OnGpu",
    "Origin",
    "OwnCopy",
    "Plan",
    "Policy",
    "PolicyResult",
    "PolicyRun",
    "Pool",
    "PoolExhausted",
    "Problem",
    "Processes",
    "Program",
    "Provenance",
    "Remake",
    "Roofline",
    "Schedule",
    "SharedLink",
    "Study",
    "Sweep",
    "Timeline",
    "TogetherComparison",
    "TogetherRun",
    "Topology",
    "Trace",
    "TraceHeader",
    "TraceRow",
    "Trial",
    "UnknownName",
    "VdnnDyn",
    "VdnnsimError",
    "Waits",
    "WeightGradients",
    "advice_figure",
    "advise",
    "build_network",
    "build_program",
    "calibration_figure",
    "calibration_page",
    "compare",
    "compare_policies",
    "compare_together",
    "comparison_figure",
    "comparison_page",
    "diff",
    "difference_figure",
    "feature_extraction_layers",
    "find_trace",
    "finished",
    "largest_batch",
    "layer_traffic",
    "list_traces",
    "load_network",
    "load_profile",
    "load_roofline",
    "load_topology",
    "make_plan",
    "make_policy",
    "make_study",
    "memory_map",
    "memory_optimal",
    "model_trace",
    "offload_plan",
    "performance_optimal",
    "plan_sweep",
    "plot_sweep",
    "read_header",
    "read_records",
    "read_step",
    "read_sweep",
    "read_topology",
    "read_trace",
    "replace_window",
    "required_passes",
    "run_figure",
    "run_sweep",
    "shape_key",
    "smallest_capacity",
    "smallest_link",
    "sweep_page",
    "trace_path",
    "usable_cores",
    "weakest",
    "whole_file",
    "write_chakra",
    "write_schedule",
    "write_snapshot",
    "write_text",
    "write_trace",
]

_ROOMS = MappingProxyType(
    {
        "advice": ("Advice", "advise"),
        "calibration.records": ("CaseRecord", "read_records"),
        "carrying": ("CarriedOver", "model_trace"),
        "captured.files": ("read_step",),
        "captured.step": ("CapturedStep",),
        "comparing": ("compare", "compare_policies"),
        "differences": ("Change", "Difference", "LayerChange", "diff"),
        "errors": (
            "CannotWrite",
            "Fault",
            "InvalidFile",
            "InvalidInput",
            "InvalidValue",
            "MissingTrace",
            "UnknownName",
            "VdnnsimError",
        ),
        "figures.advice": ("advice_figure",),
        "figures.calibration": ("calibration_figure",),
        "figures.comparison": ("comparison_figure",),
        "figures.difference": ("difference_figure",),
        "figures.memory_map": ("memory_map",),
        "figures.run": ("run_figure",),
        "figures.sweep": ("plot_sweep",),
        "files": ("whole_file", "write_text"),
        "gpu": ("GpuProfile", "Roofline", "load_profile", "load_roofline"),
        "iteration": ("Iteration", "Leave", "OwnCopy", "Remake", "Schedule", "Waits"),
        "memory": ("BestFitPool", "FirstFitPool", "Pool", "PoolExhausted"),
        "network": ("Kind", "Layer", "LayerSpec", "Network", "build_network", "load_network", "shape_key"),
        "pages.calibrating": ("calibration_page",),
        "pages.comparing": ("comparison_page",),
        "pages.sweeping": ("sweep_page",),
        "policies": (
            "Layout",
            "Plan",
            "Policy",
            "Problem",
            "Trial",
            "VdnnDyn",
            "feature_extraction_layers",
            "make_plan",
            "make_policy",
            "memory_optimal",
            "offload_plan",
            "performance_optimal",
            "replace_window",
            "write_schedule",
        ),
        "making": ("make_study",),
        "processes": ("Processes", "finished", "usable_cores"),
        "program": ("Program", "WeightGradients", "build_program"),
        "report.chakra": ("write_chakra",),
        "report.memory_snapshot": ("write_snapshot",),
        "results": ("Comparison", "FeatureExtraction", "LayerResult", "Origin", "PolicyResult", "PolicyRun"),
        "study": ("Study",),
        "sweep": ("Sweep", "plan_sweep", "read_sweep", "run_sweep"),
        "sweep.solve": ("Answer", "largest_batch", "smallest_capacity", "smallest_link"),
        "timeline": ("COPY_IN", "COPY_OUT", "Timeline"),
        "trace": (
            "DEFAULT_ALGORITHM",
            "Provenance",
            "Trace",
            "TraceHeader",
            "TraceRow",
            "find_trace",
            "list_traces",
            "read_header",
            "read_trace",
            "required_passes",
            "trace_path",
            "weakest",
            "write_trace",
        ),
        "together": ("OnGpu", "TogetherComparison", "TogetherRun", "compare_together"),
        "topology": ("SharedLink", "Topology", "load_topology", "read_topology"),
        "traffic": ("LayerTraffic", "layer_traffic"),
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

"""`vdnnsim page`: one file that answers, to be opened offline in any browser."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vdnnsim.cli import options
from vdnnsim.cli.comparing import Policies, compared
from vdnnsim.cli.machine import OPTIONS, Machine, on_machine
from vdnnsim.cli.outputs import check_pages, tell
from vdnnsim.errors import InvalidInput

if TYPE_CHECKING:
    from vdnnsim.advice import Advice


@on_machine
def page_command(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK|DIR",
            help="A network by name, the path of its TOML file, or the folder of a captured training step; or the "
            "folder of a sweep or of a calibration's report, which needs no other options.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The page to write: .html.")],
    *,
    gpu: Annotated[str | None, typer.Option("--gpu", help=options.GPU_HELP)] = None,
    batch: options.OwnBatch = None,
    policies: Policies = None,
    machine: Machine,
    math: options.OwnMath = None,
    weight_gradients: options.WeightGradients = "per-layer",
    trace: options.TraceFile = None,
    traces: options.TraceFolders = None,
    advise: Annotated[
        bool, typer.Option("--advise", help="Say also where the answer flips, as 'vdnnsim advise': some seconds more.")
    ] = False,
) -> None:
    """Write a page: the answer in words, tables, and each policy's memory and engines to zoom into.

    One file, for any browser, without a network. With one policy it is the page of its run; of a sweep's or a
    calibration's folder it has the figures and every point or case.
    """
    check_pages({"--out": out})
    from vdnnsim.captured.files import HEADER
    from vdnnsim.captured.several import INDEX
    from vdnnsim.report.terminal import output_console

    command = shlex.join(["vdnnsim", *sys.argv[1:]])
    asked: dict[str, Any] = {"batch": batch, "policies": policies, "math": math, "trace": trace, "traces": traces}
    of_machine = {name: None if value == OPTIONS[name].default else value for name, value in machine.items()}
    if not _folder_page(subject, out, command, {"gpu": gpu, **asked, **of_machine, "advise": advise or None}):
        if Path(subject).is_dir() and not any((Path(subject) / name).is_file() for name in (HEADER, INDEX)):
            raise InvalidInput(
                f"{subject}: found a folder of something else, expected that of a sweep, of a calibration's report or "
                "of a captured step"
            )
        if gpu is None:
            raise InvalidInput(f"--gpu: found none, expected the GPU that {subject} is trained on")
        _workload_page(subject, gpu, out, command, {**asked, "weight_gradients": weight_gradients}, machine, advise)
    tell(output_console(), "page", out)


def _folder_page(subject: str, out: Path, command: str, asked: Mapping[str, object]) -> bool:
    """The page of a folder that holds results; False where it holds none."""
    from vdnnsim.calibration.stored import is_report
    from vdnnsim.sweep.store import is_sweep

    folder = Path(subject)
    what = "a sweep" if is_sweep(folder) else "a calibration's report" if is_report(folder) else ""
    if not what:
        return False
    for name, value in asked.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise InvalidInput(f"{option}: found it beside the folder of {what}, whose results are there; leave it out")
    if is_sweep(folder):
        from vdnnsim.pages.sweeping import sweep_page

        sweep_page(folder, out, command=command)
    else:
        from vdnnsim.pages.calibrating import calibration_page

        calibration_page(folder, out, command=command)
    return True


def _workload_page(
    subject: str, gpu: str, out: Path, command: str, asked: dict[str, Any], machine: Machine, advise: bool
) -> None:
    from vdnnsim.changes import Changes
    from vdnnsim.gpu import load_profile
    from vdnnsim.pages.comparing import comparison_page

    setting = ({"gpu": gpu, **machine}, asked["math"], asked["weight_gradients"], asked["trace"], asked["traces"])
    comparison = compared(subject, asked["batch"], asked["policies"], *setting)
    changes = {name: value for name, value in machine.items() if name not in ("capacity", "link_bandwidth", "pool")}
    profile = load_profile(gpu).on_numa(machine["numa"])
    if machine["link_bandwidth"]:
        profile = profile.with_link_bandwidth(machine["link_bandwidth"])
    profile = Changes(**changes).of_gpu(profile)
    advice = _advice(subject, gpu, {**asked, **machine}) if advise else None
    comparison_page(comparison, out, command=command, profile=profile, advice=advice)


def _advice(subject: str, gpu: str, asked: Mapping[str, Any]) -> Advice:
    from vdnnsim.advice import advise

    kept = {name: value for name, value in asked.items() if name not in ("policies", "trace", "traces")}
    kept |= {"trace": [asked["trace"]] if asked["trace"] else (), "traces": asked["traces"] or ()}
    return advise(subject, gpu=gpu, **kept)

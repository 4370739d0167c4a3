"""`vdnnsim sweep`: run a spec's points, see how far it is, export, plot."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from vdnnsim.cli import options

if TYPE_CHECKING:
    from rich.console import Console

    from vdnnsim.sweep.plan import Sweep
    from vdnnsim.sweep.run import Progress


class _RunsSpecs(TyperGroup):
    """`vdnnsim sweep SPEC ...` is `vdnnsim sweep run SPEC ...`: whatever is no command is the spec of a run. A spec
    that has a command's name is given as ./status."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


app = typer.Typer(
    cls=_RunsSpecs,
    help="Run many design points from one spec: vdnnsim sweep SPEC.toml --out DIR. Then status, export, plot DIR.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a sweep.")]


@app.command("run")
def run_command(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="TOML file with a table of axes.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where results go.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", help="Processes; one for each core when left out.")] = None,
    cluster: Annotated[
        str | None, typer.Option("--cluster", metavar="tcp://HOST:PORT", help="Run on this dask scheduler's workers.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is missing in DIR.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many points there are, and stop.")] = False,
    engine: Annotated[
        str, typer.Option("--engine", help="auto, or reference: the simulated machine for every point.")
    ] = "auto",
    trace: options.TraceFiles = None,
    traces: options.TraceFolders = None,
) -> None:
    """Run the points of a spec. This is what `vdnnsim sweep SPEC` does."""
    from rich.console import Console

    from vdnnsim.errors import InvalidInput
    from vdnnsim.sweep.engines import Engine
    from vdnnsim.sweep.plan import plan_sweep
    from vdnnsim.trace import check_folders

    if engine not in (Engine.AUTO, Engine.REFERENCE):
        raise InvalidInput(f"--engine: found '{engine}', expected auto or reference")
    if jobs is not None and cluster is not None:
        raise InvalidInput("--jobs and --cluster: found both, expected one of them")
    console = Console(stderr=True)
    check_folders(traces or (), "--traces")
    sweep = plan_sweep(spec, Engine(engine), traces or (), trace or ())
    _announce(sweep, console)
    if dry_run:
        return
    if out is None:
        raise InvalidInput("--out: found none, expected the folder for the results; or add --dry-run")
    progress = _run(sweep, out, jobs, cluster, resume, console)
    failed = f", {progress.failed} of them failed (their rows say why)" if progress.failed else ""
    console.print(
        f"{progress.done} points done{failed}; {progress.before} were done before. Results: {out}", soft_wrap=True
    )


def _announce(sweep: Sweep, console: Console) -> None:
    axes = ", ".join(f"{name} {len(sweep.spec.axes[name])}" for name in sweep.spec.axes if name in sweep.spec.named)
    dropped = sweep.size.raw_points - sweep.size.points
    filtered = f" after filters ({dropped} dropped)" if dropped else ""
    if sweep.spec.title:
        console.print(sweep.spec.title, highlight=False, soft_wrap=True)
    console.print(f"{sweep.size.points} points{filtered}: {axes}", highlight=False, soft_wrap=True)
    for source in sweep.assignment.sources.values():
        if source.study.workload.captured is None and not source.study.trace.header.layers:
            title = source.study.trace.header.title
            text = f"trace of {title}: unchecked, it does not say of which layers it is"
            console.print(text, highlight=False, soft_wrap=True)
        if source.interpolation_error_ppm:
            text = source.study.trace.header.sources["interpolated"]
            console.print(
                f"{source.study.workload.name} batch {source.study.workload.batch}: {text}",
                highlight=False,
                soft_wrap=True,
            )
    for gpu, reason in sweep.uncovered.items():
        console.print(f"{gpu}: reference engine, since {reason}", highlight=False, markup=False, soft_wrap=True)


def _run(sweep: Sweep, out: Path, jobs: int | None, cluster: str | None, resume: bool, console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from vdnnsim.cli.ends import EXIT_INTERRUPTED
    from vdnnsim.cli.waiting import now_and_then
    from vdnnsim.sweep.reading import read_status
    from vdnnsim.sweep.run import run_sweep

    bar = Bar(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    tell_now_and_then = now_and_then("vdnnsim sweep") if bar.disable else str
    task = bar.add_task("points", total=sweep.size.points, rate="")
    started = False

    def report(progress: Progress) -> None:
        nonlocal started
        if not started:
            bar.start()
            bar.reset(task, total=progress.points - progress.before)
            started = True
        elapsed = bar.tasks[0].elapsed
        rate = f"{progress.done / elapsed:,.0f} points/s" if elapsed and progress.done else ""
        bar.update(task, completed=progress.done, rate=rate)
        tell_now_and_then(f"{progress.before + progress.done} of {progress.points} points done, {rate}")

    try:
        return run_sweep(sweep, out, jobs=jobs, cluster=cluster, resume=resume, report=report)
    except KeyboardInterrupt:
        if not started:  # nothing was done yet, in this run
            raise
        done = read_status(out).done
        bar.stop()
        message = f"interrupted; {done} of {sweep.size.points} points are done, go on with --resume"
        console.print(message, highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    finally:
        if started:
            bar.stop()


@app.command("status")
def status_command(folder: _Folder) -> None:
    """Say how far a sweep is, and how many of its points failed."""
    from vdnnsim.sweep.reading import read_status
    from vdnnsim.units import format_bytes

    status = read_status(folder)
    manifest = status.manifest
    if manifest.title:
        typer.echo(manifest.title)
    share = 100 * status.done / manifest.points
    typer.echo(f"points    {status.done} of {manifest.points} done ({share:.1f} %), {status.failed} of them failed")
    state = (
        "a process is writing now" if status.running else "complete" if status.done == manifest.points else "stopped"
    )
    typer.echo(f"state     {state}{'; go on with --resume' if state == 'stopped' else ''}")
    typer.echo(f"files     {status.parts_done} parts, {format_bytes(status.size_bytes)}")
    for part in status.faulty:
        typer.echo(f"damaged   {part.path}: {part.fault}; --resume does its points again")
    for path in status.strangers:
        typer.echo(f"stranger  {path}: no part of this sweep; move it")
    typer.echo(f"vdnnsim   {manifest.version}, engine {manifest.engine}")


@app.command("export")
def export_command(
    folder: _Folder,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="A CSV or .parquet file; CSV on stdout when left out, or -."),
    ] = None,
) -> None:
    """Write the rows there are as CSV or Parquet."""
    from vdnnsim.cli.outputs import STDOUT
    from vdnnsim.files import whole_file
    from vdnnsim.sweep.reading import export_csv, export_parquet

    if out is None or str(out) == STDOUT:
        export_csv(folder, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    export = export_parquet if out.suffix == ".parquet" else export_csv
    with whole_file(out) as temporary, temporary.open("wb") as file:
        rows = export(folder, file)
    typer.echo(f"{rows} rows: {out}", err=True)


@app.command("plot")
def plot_command(
    folder: _Folder,
    out: Annotated[
        list[Path], typer.Option("--out", metavar="FILE", help="PNG, PDF or SVG; may be given more than once.")
    ],
    kind: Annotated[
        str | None, typer.Option("--kind", help="heatmap, pareto, lines or threshold; by the axes when left out.")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option("--column", help="Draw this column of the rows over an axis, such as energy_j or needed_bytes."),
    ] = None,
    x: Annotated[
        str | None, typer.Option("--x", help="Axis along the figure; with --column one of names, too.")
    ] = None,
    y: Annotated[str | None, typer.Option("--y", help="Axis up the figure, of a heat map.")] = None,
    where: Annotated[
        str | None, typer.Option("--where", help="Which points, as a filter of a spec: \"network == 'vgg16'\".")
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option("--loss", help="The loss against the oracle that figures mark; 5% when left out."),
    ] = None,
    mark: Annotated[
        list[str] | None, typer.Option("--mark", help="A value of the first axis to draw a line at, such as 12.8GB/s.")
    ] = None,
) -> None:
    """Draw the rows there are."""
    from vdnnsim.figures.sweep import plot_sweep
    from vdnnsim.units import parse_share

    share = None if loss is None else parse_share(loss, "--loss")
    plot_sweep(folder, out, kind=kind, column=column, x=x, y=y, where=where, loss=share, marks=mark or ())
    for path in out:
        typer.echo(f"figure: {path}", err=True)

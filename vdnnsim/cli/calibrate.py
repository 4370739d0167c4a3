"""`vdnnsim calibrate`: measure this machine, run programs on it for real, and compare with the simulation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated

import typer

from vdnnsim.cli import options
from vdnnsim.cli.outputs import STDOUT, check_targets, put_text
from vdnnsim.files import check_writable

if TYPE_CHECKING:
    from vdnnsim.calibration.bench import Bench
    from vdnnsim.calibration.cases import CasesFile
    from vdnnsim.calibration.progress import OnProgress
    from vdnnsim.calibration.records import CaseRecord
    from vdnnsim.calibration.running import CaseRun
    from vdnnsim.study import Study

app = typer.Typer(
    name="calibrate",
    help="Measure a GPU (or the CPU), train on it for real under a policy, and compare with the simulation.",
    no_args_is_help=True,
    add_completion=False,
)
Device = Annotated[str, typer.Option("--device", help="cuda, or cpu to try everything without a GPU.")]
Name = Annotated[str | None, typer.Option("--name", help="The GPU's name in files; its own name where not given.")]
_CREATED_BY = "vdnnsim calibrate trace"
EXIT_FAILED = 1
"""A report in which a network failed; the others are there."""


@app.command("link")
def link_command(
    out: Annotated[str, typer.Option("--out", help="The GPU profile to write (.toml); - writes only it to stdout.")],
    device: Device = "cuda",
    name: Name = None,
) -> None:
    """Measure capacity, copy times by size and direction, and what the host's calls cost: a GPU profile."""
    _check_name(name)
    if out != STDOUT:
        _check_suffix(out, ".toml")
    check_targets({"--out": out})
    with _bench(device) as bench:
        from vdnnsim.calibration.link import measure_link
        from vdnnsim.calibration.profile_text import profile_name, profile_text, unsteadiness

        report = measure_link(bench, _progress())
        chosen = name or ("cpu" if device == "cpu" else profile_name(report.conditions["gpu"]))
        put_text(out, profile_text(report, chosen))
        typer.echo(f"{out}: profile of {chosen}{unsteadiness(report)}", err=out == STDOUT)


@app.command("trace")
def trace_command(
    network: options.Network,
    batch: options.Batch,
    out: Annotated[Path, typer.Option("--out", help="The table to write (.csv); its header goes beside it.")],
    math: options.Math = "fp32",
    device: Device = "cuda",
    name: Name = None,
    density: Annotated[
        bool, typer.Option("--density", help="Measure how much of each map is zero at initialisation, too, for cdma.")
    ] = False,
) -> None:
    """Time every layer and pass, CONV with every algorithm, with workspaces and the slowdown of copies: a trace."""
    from vdnnsim.network import load_network
    from vdnnsim.trace import check_header_writable, write_trace

    _check_name(name)
    _check_suffix(str(out), ".csv")
    chosen = load_network(network, batch)
    check_writable([out, out.with_suffix(".toml")])
    check_header_writable(out)
    with _bench(device) as bench:
        from vdnnsim.calibration.profile_text import profile_name
        from vdnnsim.calibration.tracing import measure_trace

        gpu = name or ("cpu" if device == "cpu" else profile_name(bench.device.describe()["gpu"]))
        trace = measure_trace(bench, chosen, math, gpu, _CREATED_BY, _progress())
        if density:
            from vdnnsim.calibration.densities import with_densities

            trace = with_densities(trace, bench, chosen)
        write_trace(trace, out)
        unsteady = trace.header.conditions.get("unsteady", "")
        typer.echo(f"{out}: {len(trace.rows)} rows, {trace.header.title}; {unsteady}")


@app.command("run")
def run_command(
    network: options.Network,
    batch: options.Batch,
    policy: Annotated[str, typer.Option("--policy", help="A policy by name (see 'vdnnsim list policies').")],
    gpu: Annotated[str, typer.Option("--gpu", help="The measured profile to simulate with.")],
    math: options.Math = "fp32",
    capacity: options.Capacity = None,
    trace: options.TraceFile = None,
    traces: options.TraceFolders = None,
    iterations: Annotated[int | None, typer.Option("--iterations", help="Timed iterations.", min=1)] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare gradients with autograd, freed bytes overwritten.")
    ] = False,
    json: Annotated[
        str | None, typer.Option("--json", help="Write the case's numbers as JSON; - writes only them to stdout.")
    ] = None,
    timeline: Annotated[
        str | None,
        typer.Option("--timeline", help="Write both timelines (Chrome trace JSON) to open in Perfetto; - as above."),
    ] = None,
    device: Device = "cuda",
) -> None:
    """Train for real under a policy, in a pool of the capacity, and show measured beside simulated."""
    from vdnnsim.making import make_study

    check_targets({"--json": json, "--timeline": timeline})
    say = partial(typer.echo, err=STDOUT in (json, timeline))
    study = make_study(network, batch=batch, gpu=gpu, capacity=capacity, math=math, trace=trace, traces=traces or ())
    if not study.trace.header.layers:
        say(f"trace of {study.trace.header.title}: unchecked, it does not say of which layers it is")
    with _bench(device) as bench:
        if check:
            say(_check(bench, study, policy))
        run, record = _run(bench, study, policy, iterations)
        say(_in_words(record))
        if json is not None:
            from vdnnsim.calibration.records import records_json

            put_text(json, records_json([record], bench.device.describe()))
        if timeline is not None:
            put_text(timeline, _timelines(study, run))
            say(f"{timeline}: both timelines, for https://ui.perfetto.dev")


def _check(bench: Bench, study: Study, policy: str) -> str:
    from vdnnsim.calibration.running import check_case
    from vdnnsim.policies import make_policy

    machine = bench.machine(study.network, study.trace.header.math)
    found = check_case(bench, machine, study, make_policy(policy), _progress())
    return (
        f"loss and gradients against autograd in fp64: largest relative error {found.error:.2e} ({found.where}), "
        f"plain autograd in fp32 {found.plain_error:.2e}; rounding decided {found.other_choices:.1e} of the "
        "choices of ReLU and max-pool otherwise"
    )


def _run(bench: Bench, study: Study, policy: str, iterations: int | None) -> tuple[CaseRun, CaseRecord]:
    from vdnnsim.calibration.records import record_of
    from vdnnsim.calibration.running import run_case
    from vdnnsim.policies import make_policy

    machine = bench.machine(study.network, study.trace.header.math)
    run = run_case(bench, machine, study, make_policy(policy), iterations)
    return run, record_of(study, policy, run)


def _in_words(record: CaseRecord) -> str:
    return (
        f"{record.title}: measured {record.measured_iteration_time_ns / 1e6:.3f} ms "
        f"(spread {record.spread_ppm / 1e4:.2f} %{'' if record.steady else ', unsteady'}), simulated "
        f"{record.predicted_iteration_time_ns / 1e6:.3f} ms, error {100 * record.error:+.2f} %\n"
        f"peak {record.measured_peak_bytes} and {record.predicted_peak_bytes} B, offloaded "
        f"{record.measured_offloaded_bytes} and {record.predicted_offloaded_bytes} B; "
        f"addresses {_equal(record.same_addresses)}, decisions {_equal(record.same_decisions)}"
    )


def _timelines(study: Study, run: CaseRun) -> str:
    """Of the measured iteration, marks included, and of the simulated one."""
    from vdnnsim.calibration.running import measured_run
    from vdnnsim.report.chrome_trace import timeline_json

    result = run.predicted.result
    simulated = replace(run.predicted, result=replace(result, policy=f"{result.policy}, simulated"))
    return timeline_json([measured_run(study, run), simulated])


@app.command("report")
def report_command(
    cases: Annotated[Path, typer.Argument(help="The list of cases (.toml); docs/calibration.md shows one.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for profile, traces, table, JSON and figure.")],
    device: Device = "cuda",
    gpus: Annotated[
        int,
        typer.Option("--gpus", help="So many GPUs of this host: their links and every case at once.", min=1, max=64),
    ] = 1,
) -> None:
    """Measure profile and traces where the folder has none, run every case on both machines, write the report."""
    from vdnnsim.calibration.cases import read_cases

    chosen = read_cases(cases)
    if gpus > 1:
        _report_of_several(chosen, out, device, gpus)
        return
    with _bench(device) as bench:
        from vdnnsim.calibration.report import make_report, summary

        with _kept_in(out):
            report = make_report(bench, chosen, out, _progress())
    typer.echo(summary(report.records))
    _tell_failures(report.failures)


def _report_of_several(cases: CasesFile, out: Path, device: str, gpus: int) -> None:
    _check_torch("calibrate")
    from vdnnsim.calibration.bench import DEVICES
    from vdnnsim.calibration.several.report import make_several_report, open_crew
    from vdnnsim.calibration.several.table import summary
    from vdnnsim.errors import check_known

    check_known("device", device, DEVICES)
    with _kept_in(out), open_crew(device, gpus) as crew:
        report = make_several_report(crew, cases, out, _progress())
    typer.echo(summary(report.predicted))
    _tell_failures(report.failures)


@contextmanager
def _kept_in(out: Path) -> Iterator[None]:
    """What an interrupted report leaves."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"{out} keeps what is measured so far; the same command goes on from there", err=True)
        raise


def _tell_failures(failures: Mapping[str, str]) -> None:
    for what, why in failures.items():
        typer.echo(f"failed: {what}: {why}", err=True)
    if failures:
        raise typer.Exit(EXIT_FAILED)


@app.command("pytorch")
def pytorch_command(
    script: Annotated[
        str, typer.Argument(help="FILE.py:FUNCTION; the function returns step, model, optimizer.", metavar="SCRIPT")
    ],
    gpu: Annotated[str, typer.Option("--gpu", help="The profile to simulate with; its link is measured anew.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for the captured step, table, JSON and figure.")],
    policies: Annotated[
        str | None, typer.Option("--policies", help="Comma-separated names; the usual ones when left out.")
    ] = None,
    capacity: Annotated[
        str | None, typer.Option("--capacity", help="What PyTorch may hold of the GPU, and plans are made for: 12GB.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cuda or cpu: the function's argument device, where it has one.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the model is called; else as the script.")] = None,
) -> None:
    """Train a script's model by one plan after the other, and set time, memory and gradients beside the prediction."""
    from vdnnsim.gpu import load_profile
    from vdnnsim.policies import make_policy
    from vdnnsim.policies.grammar import split_names
    from vdnnsim.units import parse_bytes

    chosen = None if policies is None else split_names(policies, "--policies")
    for policy in chosen or ():
        make_policy(policy)
    load_profile(gpu)
    if capacity is not None:
        parse_bytes(capacity, "--capacity")
    _check_torch("calibrate pytorch")
    from vdnnsim.calibration.step_records import summary_of
    from vdnnsim.pytorch.devices import check_available
    from vdnnsim.pytorch.reporting import Wanted, make_step_report
    from vdnnsim.pytorch.script import Script

    if device is not None:
        check_available(device)
    found = Script(script)
    wanted = Wanted(found, name or found.name, gpu, chosen, capacity, device)
    with _kept_in(out):
        report = make_step_report(wanted, out, _progress())
    typer.echo(summary_of(report.records))
    _tell_failures(report.failures)


@app.command("doctor")
def doctor_command(
    json: Annotated[
        str | None, typer.Option("--json", help="Write all figures as JSON; - writes only them to stdout.")
    ] = None,
    device: Device = "cuda",
) -> None:
    """Say whether this machine is fit to measure on: host, link, clocks, other work; and what to do. Half a minute."""
    check_targets({"--json": json})
    with _bench(device) as bench:
        from vdnnsim.calibration.diagnosis import diagnosis_json, diagnosis_text
        from vdnnsim.calibration.doctor import FULL, QUICK, examine

        seen = examine(bench, _progress(), QUICK if device == "cpu" else FULL)
        if json != STDOUT:
            typer.echo(diagnosis_text(seen, get_terminal_size((100, 24)).columns), nl=False)
        if json is not None:
            put_text(json, diagnosis_json(seen))


def _check_name(name: str | None) -> None:
    """Before minutes of measuring for a file that nothing would read."""
    if name is not None:
        from vdnnsim.gpu import check_profile_name

        check_profile_name(name, "--name")


def _check_suffix(out: str, suffix: str) -> None:
    if not out.endswith(suffix):
        from vdnnsim.errors import InvalidInput

        raise InvalidInput(f"--out: found '{out}', expected a name ending in {suffix}")


def _check_torch(command: str) -> None:
    if find_spec("torch") is None:
        from vdnnsim.errors import InvalidInput

        raise InvalidInput(f"{command}: found no PyTorch, expected it; pip install torch")


@contextmanager
def _bench(device: str) -> Iterator[Bench]:
    _check_torch("calibrate")
    from vdnnsim.calibration.bench import open_bench

    with open_bench(device) as bench:
        yield bench


def _progress() -> OnProgress:
    """What is done, and from the pace so far the time left, on standard error."""
    begun = time.monotonic()

    def tell(done: int, total: int, now: str) -> None:
        spent = time.monotonic() - begun
        left = f", about {spent * (total - done) / done:.0f} s left" if done else ""
        typer.echo(f"[{spent:5.0f} s] {100 * done // max(1, total):3d} %{left}: {now}", err=True)

    return tell


def _equal(same: bool) -> str:
    return "equal" if same else "DIFFER"

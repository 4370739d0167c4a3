"""`vdnnsim capture`: a training step of one's own PyTorch model as a folder that every other command takes."""

from __future__ import annotations

import gc
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vdnnsim.captured import CapturedStep
    from vdnnsim.pytorch.script import Script, Value


def capture_command(
    script: Annotated[
        str, typer.Argument(help="FILE.py:FUNCTION; the function returns step, model, optimizer.", metavar="SCRIPT")
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    device: Annotated[
        str | None, typer.Option("--device", help="cuda or cpu: the function's argument device, where it has one.")
    ] = None,
    vary: Annotated[
        str | None,
        typer.Option("--vary", help="An argument of the function and values, such as batch=8,16,32: a capture each."),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="The profile's name that it goes with; else as the device is called.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the model is called; else as the script.")] = None,
    smallest: Annotated[
        str | None,
        typer.Option("--smallest", help="Blocks below this size stay on the device; else 1MiB, or 1KiB on the CPU."),
    ] = None,
) -> None:
    """Run some steps of a training on the device, and write down what one of them does: operators, kernels, memory."""
    from vdnnsim.captured import check_step_writable, check_steps_writable, write_step, write_steps
    from vdnnsim.errors import InvalidInput
    from vdnnsim.units import parse_bytes

    varied, values = _varied(vary) if vary is not None else ("", ())
    smallest_bytes = parse_bytes(smallest, "--smallest") if smallest is not None else None
    (check_steps_writable if varied else check_step_writable)(out)
    if find_spec("torch") is None:
        raise InvalidInput("capture: found no PyTorch, expected it; pip install torch")
    from vdnnsim.pytorch.devices import check_available
    from vdnnsim.pytorch.script import Script

    if device is not None:
        check_available(device)
    found = Script(script)
    if not varied:
        step = _captured(found, {}, out, device, gpu, name, smallest_bytes)
        write_step(step, out)
        _tell(step, out)
        return
    found.check_takes(varied)
    steps: dict[Value, CapturedStep] = {}
    for value in values:
        try:
            replaced = None if steps else out
            steps[value] = _captured(found, {varied: value}, replaced, device, gpu, name, smallest_bytes)
        except InvalidInput as error:
            raise InvalidInput(f"{varied}={value}: {error}") from None
    write_steps(varied, steps, out)
    for value, step in steps.items():
        _tell(step, out / f"{varied}_{value}")


def _captured(
    script: Script,
    setting: dict[str, Value],
    replaced: Path | None,
    device: str | None,
    gpu: str | None,
    name: str | None,
    smallest_bytes: int | None,
) -> CapturedStep:
    """A capture, whose model has to be that of the captures that it replaces, if any."""
    from vdnnsim.captured import check_of_model
    from vdnnsim.pytorch import capture
    from vdnnsim.pytorch.digests import model_sha256

    training = script.make(setting, device)
    if replaced is not None:
        check_of_model(replaced, model_sha256(training.model))
    step = capture(
        *training,
        name=name or script.name,
        device=device,
        gpu=gpu,
        setting={key: value for key, value in script.defaults.items() if key != "device"} | setting,
        smallest_bytes=smallest_bytes,
    )
    del training
    gc.collect()
    return step


def _tell(step: CapturedStep, folder: Path) -> None:
    from vdnnsim.errors import printable
    from vdnnsim.pytorch.noticing import NOT_PUT_BACK
    from vdnnsim.units import format_bytes, format_ms

    leaving = {one.block for one in step.saved} - {one.block for one in step.saved if one.stays}
    saved = sum(step.blocks[block].size_bytes for block in {one.block for one in step.saved})
    typer.echo(
        f"{folder}: {printable(step.header.name)} on {step.header.gpu}: {len(step.kernels)} kernels, "
        f"{format_ms(step.seen.step_ns)} a step, peak {format_bytes(step.seen.peak_requested_bytes)}; "
        f"{len(step.saved)} saved tensors of {format_bytes(saved)}, of which "
        f"{format_bytes(sum(step.blocks[block].size_bytes for block in leaving))} may leave"
    )
    for notice in step.header.conditions["notices"].splitlines():
        if notice != NOT_PUT_BACK:  # true of every step, and this process made the training for the capture alone
            typer.echo(f"  {notice}")


def _varied(text: str) -> tuple[str, list[Value]]:
    """Name and values of what is varied, numbers where they can be. Raises `InvalidValue`."""
    from vdnnsim.errors import InvalidValue, shown

    name, _, listed = text.partition("=")
    values = [_value(one.strip()) for one in listed.split(",")]
    if not name.isidentifier() or "" in values or len(set(values)) != len(values):
        raise InvalidValue("--vary", shown(text), "an argument and its values, each once, such as batch=8,16,32")
    return name, values


def _value(text: str) -> Value:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text

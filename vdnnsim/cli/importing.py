"""`vdnnsim import`: a foreign file as a folder of ours; `vdnnsim replay`: a logged program in less memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from vdnnsim.cli.outputs import STDOUT, check_targets, put_text, tell


def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file, packed by gzip or not.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help="Its kind, where it is not to be found out: caffe-time, dtr-log, g10-kernels, kineto, "
            "memory-snapshot, nsys.",
        ),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option("--gpu", help="The profile it will be simulated with, where the file calls the GPU otherwise."),
    ] = None,
) -> None:
    """Read a file that another program wrote, and write what it holds as a folder that commands here take.

    The kind is found out by how the file begins. What the file cannot tell is said.
    """
    from vdnnsim.errors import InvalidInput, printable
    from vdnnsim.gpu import check_profile_name
    from vdnnsim.readers import OfGpu, reader_of

    if gpu is not None:
        check_profile_name(gpu, "--gpu")

    reader = reader_of(file, kind)
    reader.check_writable(out)
    found = reader.read(file)
    what = found.what
    if gpu is not None:
        if not isinstance(what, OfGpu):
            raise InvalidInput(f"--gpu: found '{gpu}', expected none: {reader.title} becomes nothing that is simulated")
        what = what.on_gpu(gpu)
    what.save(out)
    typer.echo(f"{out}: {reader.title}")
    for line in found.says:
        typer.echo(f"  {printable(line)}")
    for line in found.lacks:
        typer.echo(f"  not told: {printable(line)}")
    typer.echo(f"Next: {found.then.format(folder=out)}")


def replay_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A logged program, as 'vdnnsim import' writes it.")],
    heuristics: Annotated[
        str, typer.Option("--heuristics", help="What goes when memory is short: dtr, dtr-classes, local, lru, size.")
    ] = "dtr,local,lru",
    budgets: Annotated[
        str, typer.Option("--budgets", help="Memory: shares of the program's peak, or sizes as in 4GB.")
    ] = "0.9,0.8,0.7,0.6,0.5,0.4,0.3,0.2",
    memory: Annotated[
        str, typer.Option("--memory", help="bytes: counted; or pools with addresses, such as best-fit.")
    ] = "bytes",
    limit: Annotated[
        float, typer.Option("--limit", help="Give up past so many times the program's own time.", min=1, max=1e6)
    ] = 2.0,
    csv: Annotated[
        str | None, typer.Option("--csv", help="Write one row per replay as CSV; - writes only them to stdout.")
    ] = None,
) -> None:
    """Run a logged program in memory too small for it: what is short goes and is made again (DTR)."""
    check_targets({"--csv": csv})

    from vdnnsim.replay import BYTES, HEURISTICS, compare_replays, read_log
    from vdnnsim.report.replays import replays_csv, replays_note, replays_subject, replays_table
    from vdnnsim.report.terminal import output_console, print_table, print_text

    named = _names(heuristics, "--heuristics", HEURISTICS, "heuristic")
    memories = _names(memory, "--memory", (BYTES, *_pools()), "memory")
    sizes = [_budget(text.strip()) for text in budgets.split(",")]
    replays = compare_replays(read_log(folder), named, memories, sizes, limit)
    console = None if csv == STDOUT else output_console()
    if console:
        print_text(console, replays_subject(replays))
        print_table(console, replays_table(replays))
        print_text(console, replays_note(replays), "dim")
    if csv:
        put_text(csv, replays_csv(replays))
        if csv != STDOUT:
            tell(console, "numbers", Path(csv))


def _pools() -> tuple[str, ...]:
    from vdnnsim.memory import POOLS

    return tuple(POOLS)


def _names(text: str, option: str, known: Iterable[str], what: str) -> list[str]:
    from vdnnsim.errors import InvalidValue, check_known

    names = [one.strip() for one in text.split(",")]
    for name in names:
        if ":" not in name or what != "memory":  # a pool of the user's own is imported where it is made
            check_known(what, name, known)
    if len(set(names)) != len(names):
        raise InvalidValue(option, f"'{text}'", "each one once")
    return names


def _budget(text: str) -> float | int:
    from vdnnsim.errors import InvalidValue
    from vdnnsim.units import parse_bytes

    try:
        share = float(text)
    except ValueError:
        return parse_bytes(text, "--budgets")
    if not 0 < share <= 1:
        raise InvalidValue("--budgets", f"'{text}'", "a share of the peak, up to 1, or a size such as 4GB")
    return share

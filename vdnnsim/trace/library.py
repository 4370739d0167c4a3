"""The traces there are: those that came with the package, and any folder of the user's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from vdnnsim.catalog import data_directory
from vdnnsim.errors import InvalidInput, MissingTrace
from vdnnsim.network import NETWORKS, Network
from vdnnsim.trace.files import read_trace
from vdnnsim.trace.header import read_header
from vdnnsim.trace.table import Trace, TraceHeader

_MODELLED_GPU, _MODELLED_MATH = "titan-x-maxwell", "fp32"
"""What `vdnnsim_builder` models traces for."""

TRACE_FOLDER = "a folder with traces in it, as GPU/NETWORK_b64_fp32.csv"
"""What is expected of a folder of traces, in words."""


def trace_path(directory: Path, gpu: str, network: str, batch: int, math: str) -> Path:
    """Where the table of a trace lies in a folder of traces."""
    return directory / gpu / f"{network}_b{batch}_{math}.csv"


def list_traces(directories: Iterable[Path] = ()) -> Iterator[tuple[Path, TraceHeader]]:
    """Every trace of the given folders, or of those that came with the package; in order of their paths."""
    for directory in tuple(directories) or (data_directory("traces"),):
        for table in sorted(directory.glob("*/*_b*_*.csv")):
            if table.parent.name != "sources":
                yield table, read_header(table)


def no_traces(folder: Path) -> str:
    """What is wrong with a folder in which traces shall be looked for; empty where nothing is."""
    if not folder.is_dir():
        return f"no folder {folder}"
    return "" if next(list_traces((folder,)), None) else f"no trace in {folder}"


def check_folders(folders: Iterable[Path], what: str = "traces") -> None:
    """Raise `InvalidInput` for a folder that is not there or has no trace: others would be taken in silence."""
    for folder in folders:
        if found := no_traces(folder):
            raise InvalidInput(f"{what}: found {found}, expected {TRACE_FOLDER}")


def find_trace(network: Network, gpu: str, math: str, directories: Iterable[Path] = ()) -> Trace:
    """The trace of a network on a GPU. Raises `MissingTrace`, which lists those of this network and of this GPU, or
    `InvalidFile`."""
    places = tuple(directories) or (data_directory("traces"),)
    for directory in places:
        table = trace_path(directory, gpu, network.name, network.batch, math)
        if table.is_file():
            return read_trace(table, network)
    raise missing_trace(network.name, network.batch, gpu, math, places)


def missing_trace(network: str, batch: int | None, gpu: str, math: str, places: Iterable[Path]) -> MissingTrace:
    """The error for a network without a trace; for any batch where that is None."""
    headers = [header for _, header in list_traces(places) if network == header.network or gpu == header.gpu]
    headers.sort(key=lambda header: (header.network != network, header.gpu != gpu))  # the nearest first
    wanted = f"{network} {'of any batch' if batch is None else f'batch {batch}'} on {gpu}, {math}"
    return MissingTrace(wanted, [header.title for header in headers], _advice(network, batch, gpu, math))


def _advice(network: str, batch: int | None, gpu: str, math: str) -> str:
    """How to make the trace that is missing."""
    named = network if network in NETWORKS else "FILE.toml"
    of_batch = f"--batch {'N' if batch is None else batch}"
    if gpu == _MODELLED_GPU:
        if math != _MODELLED_MATH:
            return f"Traces of {gpu} are {_MODELLED_MATH}: it has no other mode."
        how = f"(modelled) with 'python -m vdnnsim.builder {named} {of_batch} --out DIR'"
    else:
        own = f"{named} {of_batch} --math {math}"
        how = (
            f"on that GPU with 'vdnnsim calibrate trace {own} --name {gpu} --out FILE.csv', or (modelled) from another "
            f"GPU's with 'vdnnsim model-trace {own} --from GPU --to {gpu} --out FILE.csv'"
        )
    return f"Make one {how}, then name its table with --trace. 'vdnnsim list traces' shows all that came with vdnnsim."

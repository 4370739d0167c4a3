"""Where traces are looked for: exact, or between two batches that somebody timed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from vdnnsim.catalog import data_directory
from vdnnsim.errors import InvalidInput, MissingTrace
from vdnnsim.network import Network, load_network
from vdnnsim.trace.files import read_trace
from vdnnsim.trace.header import read_header
from vdnnsim.trace.interpolation import interpolate_trace
from vdnnsim.trace.library import find_trace, list_traces, missing_trace
from vdnnsim.trace.table import Trace


class Shelved(NamedTuple):
    """A trace; `batches` is the one that was timed, as text, or the two that an interpolated trace lies between;
    `error_ppm` is -1 where it is unknown and 0 where nothing was interpolated."""

    trace: Trace
    batches: str
    error_ppm: int


class TraceShelf:
    """Traces as a sweep looks for them: tables and then folders of the user's, then those of the package; exact, or
    between two batches."""

    def __init__(self, folders: Iterable[Path] = (), tables: Iterable[Path] = ()) -> None:
        """Raises `InvalidFile` for a table without its header."""
        self._folders = (*folders, data_directory("traces"))
        self._tables = {table: read_header(table) for table in tables}
        self._by_batch: dict[tuple[str, str, str], dict[int, Path]] = {}
        self._read: dict[Path, Trace] = {}

    def batches(self, network: str, gpu: str, math: str) -> dict[int, Path]:
        """The table of each batch that was timed; of several places the first that has it."""
        if not self._by_batch:
            places = [list_traces((folder,)) for folder in reversed(self._folders)]
            for path, header in chain(*places, reversed(self._tables.items())):
                key = (header.network, header.gpu, header.math)
                self._by_batch.setdefault(key, {})[header.batch] = path
        return self._by_batch.get((network, gpu, math), {})

    def missing(self, network: str, gpu: str, math: str) -> MissingTrace:
        """The error for a network of which no batch was timed."""
        return missing_trace(network, None, gpu, math, self._folders)

    def check_tables(self, used: Iterable[Path] | None = None) -> None:
        """Raise `InvalidInput` for a table of the user's that was of no use; what was read so far was, unless told."""
        useful = set(self._read if used is None else used)
        for table, header in self._tables.items():
            if table not in useful:
                raise InvalidInput(f"trace {table}: found {header.title}, expected one that is asked for here")

    def trace(self, network: Network, network_name: str, gpu: str, math: str) -> Shelved:
        """The trace of a network, whose name or file gives it in other batches. Raises `MissingTrace` where there is
        none and none can be interpolated, `InvalidFile` for a damaged one."""
        own = (network.name, network.batch, gpu, math)
        for table, header in self._tables.items():
            if (header.network, header.batch, header.gpu, header.math) == own:
                return Shelved(self._checked(table, network), str(network.batch), 0)
        try:
            return Shelved(find_trace(network, gpu, math, self._folders), str(network.batch), 0)
        except MissingTrace as missing:
            batches = self.batches(network.name, gpu, math)
            timed = sorted(batches)
            if not timed or not timed[0] < network.batch < timed[-1]:
                if timed:
                    raise _out_of_range(network, gpu, math, timed, missing) from None
                raise
        traces = {batch: self._checked(path, load_network(network_name, batch)) for batch, path in batches.items()}
        found = interpolate_trace(network, traces)
        low, high = found.batches
        return Shelved(found.trace, f"{low}..{high}", -1 if found.error_ppm is None else found.error_ppm)

    def _checked(self, path: Path, network: Network) -> Trace:
        if path not in self._read:
            self._read[path] = read_trace(path, network)
        return self._read[path]


def _out_of_range(network: Network, gpu: str, math: str, timed: list[int], missing: MissingTrace) -> MissingTrace:
    wanted = (
        f"{network.name} batch {network.batch} on {gpu}, {math}: outside the timed batches {timed}, "
        "beyond which nothing is extrapolated"
    )
    return missing.but(wanted)

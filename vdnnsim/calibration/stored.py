"""What a report's folder holds already, of which machine, and whether it is of this GPU and of these networks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from vdnnsim.calibration.cases import CaseGroup
from vdnnsim.calibration.records import CaseRecord, read_records
from vdnnsim.errors import InvalidInput
from vdnnsim.network import Network, network_sha256
from vdnnsim.trace import Trace, read_trace

RESULTS = "results.json"
_ADVICE = "give an empty folder to measure afresh"


def is_report(folder: Path) -> bool:
    """Whether a folder holds a report's results."""
    return (folder / RESULTS).is_file()


def stored_records(out: Path, gpu: str, networks: Iterable[Network]) -> tuple[CaseRecord, ...]:
    """The records of a folder, none where it has none. Raises `InvalidInput` where they are of another GPU, or of other
    networks of the same names and batches."""
    path = out / RESULTS
    if not path.is_file():
        return ()
    records = read_records(path)
    known = {(network.name, network.batch): network_sha256(network) for network in networks}
    for record in records:
        if record.gpu not in ("", gpu):
            raise InvalidInput(f"{path}: found cases of GPU '{record.gpu}', expected '{gpu}'; {_ADVICE}")
        if record.network_sha256 not in ("", known.get((record.network, record.batch), record.network_sha256)):
            found = f"measurements of another network called {record.network} (batch {record.batch})"
            raise InvalidInput(f"{path}: found {found}: its layers differ; {_ADVICE}")
    return records


def stored_group(records: Iterable[CaseRecord], group: CaseGroup, network: Network, math: str) -> list[CaseRecord]:
    """Those of a group's cases that were stored, in the order of its policies."""
    own = {
        one.policy: one for one in records if (one.network, one.batch, one.math) == (network.name, group.batch, math)
    }
    policies = (*group.policies, *group.limited)
    return [own[policy] for policy in policies if policy in own]


def stored_trace(table: Path, network: Network) -> Trace | None:
    """The trace of a folder, where it has one. Raises `InvalidFile` where it is of another network of this name."""
    there = table.is_file() and table.with_suffix(".toml").is_file()
    return read_trace(table, network) if there else None


class HasUuid(Protocol):
    """What tells a card from others: its maker's number, "" where there is none, and what it is called then."""

    @property
    def uuid(self) -> str: ...

    @property
    def name(self) -> str: ...


def machine_id(device: HasUuid) -> str:
    """A short name of the card and of this start of the machine that holds it, fit for a file's name: a rented card may
    be another one next time, and so may its host."""
    card = device.uuid.removeprefix("GPU-").partition("-")[0] or device.name
    return f"{card}-{_boot_id()[:8]}"


def profile_path(out: Path, machine: str) -> Path:
    """Where a report keeps the profile of a machine: link and host as they were there."""
    return out / "machines" / f"{machine}.toml"


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"

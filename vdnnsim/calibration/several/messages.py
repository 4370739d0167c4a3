"""What seats are asked and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from vdnnsim.trace import trace_path


class Card(NamedTuple):
    """A GPU as it was found; `machine` names the card and this start of its host."""

    machine: str
    conditions: Mapping[str, str]
    is_gpu: bool
    total_bytes: int
    free_bytes: int
    others: int
    busy_percent: int
    """How much of the moments before it was at work, before it was given any."""
    budget_ns: int
    """About how long one thing is repeated on it."""


class Inputs(NamedTuple):
    """The files that say what is simulated of one GPU: its profile, and the trace of a network."""

    profile: Path
    trace: Path


class Case(NamedTuple):
    """What each GPU trains: a network under a policy, in all memory or in a capacity ("12GB", or "between")."""

    network: str
    batch: int
    math: str
    policy: str
    capacity: str | None


class Expected(NamedTuple):
    """What is simulated of a case on one GPU alone."""

    capacity_bytes: int
    pool: str
    iteration_time_ns: int
    peak_bytes: int


class Observed(NamedTuple):
    """What a marked iteration took of the pool, and whether that is what was simulated."""

    peak_bytes: int
    offloaded_bytes: int
    placements: str
    same_addresses: bool


class Ran(NamedTuple):
    """When one iteration began and ended, on the host's clock, and what of its own process was slow then."""

    begin_ns: int
    end_ns: int
    disturbed_by: tuple[str, ...] = ()


def profile_of(out: Path, gpu: int) -> Path:
    """Where the profile of a GPU lies in a report's folder."""
    return out / f"gpu{gpu}" / "profile.toml"


def inputs_of(out: Path, name: str, gpu: int, network: str, batch: int, math: str) -> Inputs:
    """The files of one GPU that a case is simulated with; `name` is the GPU's in files."""
    return Inputs(profile_of(out, gpu), trace_path(out / f"gpu{gpu}" / "traces", name, network, batch, math))

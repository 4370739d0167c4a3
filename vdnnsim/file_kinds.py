"""Which of our files one is, told by the names at its top: for `check`, which takes them all, and for what is said
where one was given for another."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel


class FileKind(StrEnum):
    """What a file is, in words."""

    NETWORK = "a network"
    TOPOLOGY = "a topology of a host"
    SWEEP = "a sweep"
    CASES = "a list of cases"
    STEP = "a captured step"
    STEPS = "captured steps"
    LOG = "a logged program"
    PLAN = "a plan"
    NETWORK_PLAN = "a plan of a network"
    RESULT = "a result of compare or run"
    TIMELINE = "a timeline"
    REPORT = "a calibration's report"
    PROFILE = "a GPU's profile"
    TRACE = "the header of a trace"


_NAMES: Mapping[FileKind, frozenset[str]] = MappingProxyType(
    {
        FileKind.NETWORK: frozenset({"layer", "input"}),
        FileKind.TOPOLOGY: frozenset({"gpus"}),
        FileKind.SWEEP: frozenset({"axes"}),
        FileKind.CASES: frozenset({"case"}),
        FileKind.STEP: frozenset({"hooks"}),
        FileKind.STEPS: frozenset({"captures"}),
        FileKind.LOG: frozenset({"holds"}),
        FileKind.PLAN: frozenset({"leaving"}),
        FileKind.NETWORK_PLAN: frozenset({"planned_for"}),
        FileKind.RESULT: frozenset({"results"}),
        FileKind.TIMELINE: frozenset({"traceEvents"}),
        FileKind.REPORT: frozenset({"cases"}),
        FileKind.PROFILE: frozenset({"memory", "link", "base"}),
        FileKind.TRACE: frozenset({"gpu", "network"}),
    }
)
"""Of each kind the names at the top of the file of which one tells it, those that others have too at the end."""


WRITER = "written by"
"""What our timelines say in their first event, by which they are told from those of others in the same format."""


def is_own_timeline(head: bytes) -> bool:
    """Whether a file that begins so is a timeline that vdnnsim wrote."""
    return re.search(rb'"%s"\s*:\s*"vdnnsim"' % WRITER.encode(), head) is not None


def kind_of(names: Collection[str]) -> FileKind | None:
    """The kind of a file with these names at its top; None where none tells it."""
    return next((kind for kind, own in _NAMES.items() if not own.isdisjoint(names)), None)


def kind_of_model(model: type[BaseModel]) -> FileKind | None:
    """The kind of the files that a model checks."""
    return kind_of({field.alias or name for name, field in model.model_fields.items()})

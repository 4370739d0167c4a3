"""The JSON of a plan's file, as pydantic checks it."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vdnnsim.files import invalid_file

_Name = Annotated[str, Field(min_length=1)]
_Count = Annotated[int, Field(ge=0, le=2**62, strict=True)]
_Stage = Annotated[int, Field(ge=1, le=2**31, strict=True)]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SavedDocument(_Strict):
    """A saved tensor in it."""

    number: _Count
    dtype: _Name
    shape: tuple[_Count, ...]
    stride: tuple[_Count, ...]
    offset_bytes: _Count


class LeavingDocument(_Strict):
    """A block that leaves."""

    block: _Count
    saved: Annotated[tuple[SavedDocument, ...], Field(min_length=1)]
    needs: _Count
    size_bytes: _Count
    out: _Stage
    freed: _Stage
    back: _Stage
    needed: _Stage


class PlanDocument(_Strict):
    """The file."""

    schema_version: Literal[1] = Field(alias="schema")
    policy: _Name
    step: _Name
    torch: _Name
    model_sha256: _Digest
    order_sha256: _Digest
    hook_runs: tuple[_Count, ...]
    leaving: tuple[LeavingDocument, ...]
    step_ns: _Count
    peak_bytes: _Count
    held_bytes: tuple[_Count, ...] = ()
    pinned_bytes: _Count


def parse_plan(text: str, file: str) -> PlanDocument:
    """The checked contents. Raises `InvalidFile` with every fault."""
    try:
        return PlanDocument.model_validate_json(text)
    except ValidationError as error:
        raise invalid_file(error, _document(text), {}, file, PlanDocument) from None


def _document(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None

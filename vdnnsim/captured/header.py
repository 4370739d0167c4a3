"""The TOML header of a captured step, as pydantic checks it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from vdnnsim.captured.step import HookCosts, Seen, StepHeader, UnpinnedCopy, WaitCosts

_Name = Annotated[str, Field(min_length=1)]
_Count = Annotated[int, Field(ge=0, le=2**62, strict=True)]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Setting = StrictInt | Annotated[float, Field(strict=True, allow_inf_nan=False)] | StrictStr


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SeenTable(_Strict):
    """`Seen`."""

    step_ns: _Count
    spread_ppm: _Count
    peak_requested_bytes: _Count
    peak_allocated_bytes: _Count
    peak_reserved_bytes: _Count

    def seen(self) -> Seen:
        return Seen(**self.model_dump())


class HooksTable(_Strict):
    """`HookCosts`."""

    call_ns: _Count
    copy_out_ns: _Count
    copy_in_ns: _Count
    stream_wait_ns: _Count

    def costs(self) -> HookCosts:
        return HookCosts(**self.model_dump())


class UnpinnedRow(_Strict):
    """`UnpinnedCopy`."""

    size_bytes: Annotated[int, Field(ge=1, le=2**62, strict=True)]
    longer_ns: _Count
    spread_ppm: _Count


class WaitsTable(_Strict):
    """`WaitCosts`."""

    begin_ns: _Count
    end_ns: _Count
    copy_ns: _Count
    unpinned: list[UnpinnedRow] = Field(default_factory=list)

    def costs(self) -> WaitCosts:
        unpinned = sorted(UnpinnedCopy(**row.model_dump()) for row in self.unpinned)
        return WaitCosts(self.begin_ns, self.end_ns, self.copy_ns, tuple(unpinned))


class RowsTable(_Strict):
    """How many rows each table has, by which one that was cut off is told."""

    operators: _Count
    kernels: _Count
    blocks: _Count
    saved: _Count
    deeds: _Count
    segments: _Count

    def __getitem__(self, table: str) -> int:
        return int(getattr(self, table))


class HeaderFile(_Strict):
    """The file."""

    schema_version: Literal[1] = Field(alias="schema")
    name: _Name
    gpu: _Name
    device: Literal["cpu", "cuda"]
    torch: _Name
    model_sha256: _Digest
    order_sha256: _Digest
    setting: dict[str, _Setting] = Field(default_factory=dict)
    conditions: dict[str, str] = Field(default_factory=dict)
    seen: SeenTable
    hooks: HooksTable
    waits: WaitsTable | None = None
    rows: RowsTable

    def step_header(self) -> StepHeader:
        return StepHeader(
            self.name,
            self.gpu,
            self.device,
            self.setting,
            self.torch,
            self.model_sha256,
            self.order_sha256,
            self.conditions,
        )

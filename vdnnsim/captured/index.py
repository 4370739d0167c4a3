"""The index of captures with one thing varied, as pydantic checks it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

_Value = StrictInt | Annotated[float, Field(strict=True, allow_inf_nan=False)] | StrictStr


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Capture(_Strict):
    """One setting."""

    folder: Annotated[str, Field(pattern=r"^[^/\\\\]+$")]
    value: _Value


class IndexFile(_Strict):
    """The file."""

    schema_version: Literal[1] = Field(alias="schema")
    varied: Annotated[str, Field(min_length=1)]
    captures: Annotated[list[Capture], Field(min_length=1)]

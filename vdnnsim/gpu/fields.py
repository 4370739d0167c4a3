"""What every table of a profile's file is made of: where it is from, and texts with units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vdnnsim.errors import InvalidValue
from vdnnsim.units import parse_bandwidth, parse_bytes, parse_duration, parse_rate

Nanoseconds = Annotated[int, Field(ge=0, le=10**12, strict=True)]
_Label = Literal["measured", "published", "modelled"]


class Strict(BaseModel):
    """A table in which nothing else may stand."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sourced(Strict):
    """One with numbers, which are from somewhere."""

    provenance: _Label
    source: str


def text_of(parse: Callable[[str], object]) -> AfterValidator:
    """A text that `parse` can read."""

    def check(text: str) -> str:
        try:
            parse(text)
        except InvalidValue as error:
            raise ValueError(error.expected) from None
        return text

    return AfterValidator(check)


Size = Annotated[str, text_of(parse_bytes)]
Duration = Annotated[str, text_of(parse_duration)]
Bandwidth = Annotated[str, text_of(parse_bandwidth)]
Rate = Annotated[str, text_of(parse_rate)]

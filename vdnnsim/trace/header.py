"""The TOML header beside a trace's table: what was timed, where its numbers are from, and how to tell its network."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from vdnnsim.errors import Fault, InvalidFile, InvalidInput
from vdnnsim.file_kinds import FileKind
from vdnnsim.files import parse_toml, read_text
from vdnnsim.trace.table import Trace, TraceHeader
from vdnnsim.units import PPM

MATH_MODES = ("fp32", "tf32")
DEFAULT_MATH = "fp32"
_LINE = 116
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]


class _Identity(BaseModel):
    """What tells whether table and network are the header's own: the rows there are, and `layer_digests`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: Annotated[int, Field(ge=1, strict=True)] | None = None
    layers: Annotated[tuple[_Digest, ...], Field(max_length=100_000)] = ()


class HeaderFile(BaseModel):
    """The TOML header."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(alias="schema")
    gpu: Annotated[str, Field(min_length=1)]
    network: Annotated[str, Field(min_length=1)]
    batch: Annotated[int, Field(ge=1, le=1 << 20, strict=True)]
    math: Literal["fp32", "tf32"]
    created_by: str = ""
    sources: dict[str, str] = Field(default_factory=dict)
    conditions: dict[str, str] = Field(default_factory=dict)
    identity: _Identity = _Identity()
    densities_ppm: dict[str, Annotated[int, Field(ge=0, le=PPM, strict=True)]] = Field(default_factory=dict)

    def header(self) -> TraceHeader:
        return TraceHeader(
            self.gpu,
            self.network,
            self.batch,
            self.math,
            self.created_by,
            self.sources,
            self.conditions,
            self.identity.layers,
            self.densities_ppm,
        )


def header_path(table: Path) -> Path:
    """Where the header of the table at `table` lies: beside it, with another suffix."""
    return table.parent / f"{table.stem}.toml"


def read_header_file(table: Path) -> HeaderFile:
    """The header beside the table at `table`, as it stands there. Raises `InvalidFile`."""
    path = header_path(table)
    if path == table:
        raise InvalidFile([Fault(str(path), None, "file", str(FileKind.TRACE), "its table (.csv)")])
    if not path.exists():
        raise InvalidFile([Fault(str(table), None, "header", f"no {path.name} beside it", f"{FileKind.TRACE} there")])
    return _parsed(read_text(path), str(path))


@lru_cache(maxsize=512)
def _parsed(text: str, file: str) -> HeaderFile:
    """Kept by what they say: whoever looks for a trace reads all headers of a folder, and most do so again."""
    return parse_toml(text, file, HeaderFile)


def read_header(table: Path) -> TraceHeader:
    """The header beside the table at `table`. Raises `InvalidFile`."""
    return read_header_file(table).header()


def check_header_writable(table: Path) -> None:
    """Raise `InvalidInput` where a table's header would replace a file that is no header."""
    header = table.with_suffix(".toml")
    if header.exists():
        try:
            read_header(table)
        except InvalidFile:
            raise InvalidInput(
                f"cannot write {table}: its header would replace {header}, which is no header of a trace; "
                "choose another name"
            ) from None


def header_text(trace: Trace) -> str:
    """The TOML header of a trace as text."""
    header = trace.header
    document: dict[str, object] = {
        "schema": 1,
        "gpu": header.gpu,
        "network": header.network,
        "batch": header.batch,
        "math": header.math,
        "created_by": header.created_by,
    }
    told: dict[str, dict[str, str] | dict[str, int]] = {
        "sources": dict(header.sources),
        "conditions": dict(header.conditions),
        "densities_ppm": dict(header.densities_ppm),
    }
    document |= {title: entries for title, entries in told.items() if entries}
    text = tomli_w.dumps(document | {"identity": {"rows": len(trace.rows)}})
    if not header.layers:
        return text
    hashes = "\n".join(wrap(", ".join(f'"{layer}"' for layer in header.layers), _LINE))
    return f"{text}layers = [\n{hashes}\n]\n"  # many to a line, which tomli_w would not do

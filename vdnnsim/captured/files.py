"""A captured step on disk: a folder with a TOML header and CSV tables, for people, diffs and other programs.

| file | a row |
|---|---|
| `header.toml` | what was captured, where and how; whole-step times and peaks; what hooks and waits cost; rows |
| `operators.csv` | an operator of the framework, in a module |
| `kernels.csv` | a kernel, in the order of launch |
| `blocks.csv` | a block of device memory, with the deeds behind which it dies |
| `saved.csv` | a tensor that autograd saves |
| `deeds.csv` | what the host does, in order |
| `segments.csv` | a segment of the allocator when the step begins |

Rows are counted from 0, behind the line of the columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vdnnsim.captured.consistency import wrongs_of
from vdnnsim.captured.step import (
    BEFORE_STEP,
    AllocatorSegment,
    Block,
    BlockClass,
    CapturedStep,
    Deed,
    Doing,
    ModelKernel,
    ModelOperator,
    Phase,
    SavedTensor,
    Seen,
    StepHeader,
)
from vdnnsim.errors import Fault, InvalidFile
from vdnnsim.files import check_folder_writable, read_text, whole_folder
from vdnnsim.tables import (
    FLAG,
    MOST_FAULTS,
    NAME,
    NUMBERS,
    SOME_WHOLE,
    TEXT,
    WHOLE,
    Cell,
    Table,
    choice,
    if_any,
    read_table,
    table_text,
    whole,
)

if TYPE_CHECKING:
    from vdnnsim.captured.header import HeaderFile

HEADER = "header.toml"


def _deed(text: str) -> int:
    return BEFORE_STEP if text == str(BEFORE_STEP) else whole(text)


_DEED = Cell(_deed, "the number of a deed, or -1 for before the step")
_SOME_DEED = Cell(lambda text: _deed(text) if text else None, f"nothing, or {_DEED.expected}", if_any)


class _Kind(NamedTuple):
    table: Table
    make: Callable[..., Any]


_TABLES: Mapping[str, _Kind] = {
    "operators": _Kind({"name": NAME, "module": TEXT, "phase": choice(Phase)}, ModelOperator),
    "kernels": _Kind(
        {
            "name": NAME,
            "kind": TEXT,
            "operator": WHOLE,
            "duration_ns": WHOLE,
            "spread_ppm": WHOLE,
            "launch_ns": WHOLE,
            "gap_ns": WHOLE,
        },
        ModelKernel,
    ),
    "blocks": _Kind(
        {
            "size_bytes": WHOLE,
            "holds": choice(BlockClass),
            "taken": _DEED,
            "given": _SOME_DEED,
            "given_hooked": _SOME_DEED,
            "released": _SOME_DEED,
            "fetched_given": _SOME_DEED,
            "operator": SOME_WHOLE,
            "address": WHOLE,
            "held_bytes": WHOLE,
        },
        Block,
    ),
    "saved": _Kind(
        {
            "block": WHOLE,
            "node": TEXT,
            "attribute": TEXT,
            "module": TEXT,
            "dtype": NAME,
            "shape": NUMBERS,
            "stride": NUMBERS,
            "offset_bytes": WHOLE,
            "stays": TEXT,
        },
        SavedTensor,
    ),
    "deeds": _Kind({"doing": choice(Doing), "number": WHOLE}, Deed),
    "segments": _Kind({"address": WHOLE, "size_bytes": WHOLE, "small": FLAG}, AllocatorSegment),
}


def is_step(folder: Path) -> bool:
    """Whether there is a captured step in this folder, right or wrong."""
    return (folder / HEADER).is_file() and (folder / "deeds.csv").is_file()


def read_step(folder: str | Path) -> CapturedStep:
    """The captured step in this folder. Raises `InvalidFile` with every fault: file, line, what stands there, what was
    expected."""
    folder = Path(folder)
    header = _read_header(folder)
    records: dict[str, Sequence[Any]] = {}
    lines: dict[str, list[int]] = {}
    faults: list[Fault] = []
    for name, (table, make) in _TABLES.items():
        try:
            records[name], lines[name] = read_table(_path(folder, name), table, make)
        except InvalidFile as error:
            faults += error.faults
            continue
        if (found := len(records[name])) != (promised := header.rows[name]):
            expected = f"{promised}, which {HEADER} promises under [rows]"
            faults.append(Fault(str(_path(folder, name)), None, "rows", str(found), expected))
    if faults:
        raise InvalidFile(faults[:MOST_FAULTS])
    step = CapturedStep(
        header.step_header(),
        header.seen.seen(),
        header.hooks.costs(),
        **{name: tuple(found) for name, found in records.items()},
        waits=header.waits.costs() if header.waits is not None else None,
    )
    _check(step, lambda name: str(_path(folder, name)), lines)
    return step


def read_header(folder: str | Path) -> tuple[StepHeader, Seen]:
    """What the header of a captured step says of it, and of the step as a whole. Raises `InvalidFile`."""
    header = _read_header(Path(folder))
    return header.step_header(), header.seen.seen()


def _read_header(folder: Path) -> HeaderFile:
    from vdnnsim.captured.header import HeaderFile  # pydantic is slow to import
    from vdnnsim.files import parse_toml

    if not (folder / HEADER).is_file():
        found = "no such file" if folder.is_dir() else "no such folder"
        raise InvalidFile([Fault(str(folder / HEADER), None, "captured step", found, "the header of a captured step")])
    return parse_toml(read_text(folder / HEADER), str(folder / HEADER), HeaderFile)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.csv"


def _check(step: CapturedStep, file: Callable[[str], str], lines: Mapping[str, list[int]]) -> None:
    faults = []
    for wrong in wrongs_of(step)[:MOST_FAULTS]:
        known = lines.get(wrong.table, [])
        line = known[wrong.row] if wrong.row < len(known) else None
        faults.append(Fault(file(wrong.table), line, wrong.field, wrong.found, wrong.expected))
    if faults:
        raise InvalidFile(faults)


def check_step(step: CapturedStep) -> None:
    """Raise `InvalidFile` for a step whose records do not speak of each other rightly; lines are those that a table of
    it would have."""
    sizes = {name: len(getattr(step, name)) for name in _TABLES}
    lines = {name: list(range(2, size + 2)) for name, size in sizes.items()}
    _check(step, lambda name: f"captured step {step.header.name}, {name}.csv", lines)


def write_step(step: CapturedStep, folder: str | Path) -> None:
    """Write the step as this folder, whole or not at all; a captured step that is there is replaced.

    Raises `CannotWrite` where there is something else, or no room; `InvalidFile` as `check_step`.
    """
    check_step(step)
    folder = Path(folder)
    check_step_writable(folder)
    texts = {f"{name}.csv": table_text(table, getattr(step, name)) for name, (table, _) in _TABLES.items()}
    texts[HEADER] = _header_text(step)
    with whole_folder(folder) as new:
        for name, text in texts.items():
            (new / name).write_text(text, encoding="utf-8", newline="\n")


def check_step_writable(folder: Path) -> None:
    """Before long work: raise `CannotWrite` where a step could not be written in the end."""
    check_folder_writable(folder, is_step, "captured step")


def _header_text(step: CapturedStep) -> str:
    import tomli_w

    header = step.header
    document: dict[str, Any] = {
        "schema": 1,
        "name": header.name,
        "gpu": header.gpu,
        "device": header.device,
        "torch": header.torch,
        "model_sha256": header.model_sha256,
        "order_sha256": header.order_sha256,
        "setting": dict(header.setting),
        "conditions": dict(header.conditions),
        "seen": step.seen._asdict(),
        "hooks": step.hooks._asdict(),
        **_waits_table(step),
        "rows": {name: len(getattr(step, name)) for name in _TABLES},
    }
    return tomli_w.dumps(document)


def _waits_table(step: CapturedStep) -> dict[str, Any]:
    """Of steps whose capture measured it."""
    if step.waits is None:
        return {}
    return {"waits": {**step.waits._asdict(), "unpinned": [one._asdict() for one in step.waits.unpinned]}}

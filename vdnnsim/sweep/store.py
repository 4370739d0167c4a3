"""A sweep's folder: what it is, and one Parquet file for every chunk of points that is done.

    DIR/sweep.json            title, sizes, digest of all inputs; written first
    DIR/spec.toml             the spec as it was given
    DIR/points/part-*.parquet the rows; every file is whole, forced to the disk, then given its name
    DIR/.lock                 held by the one process that writes

A point is done when its row lies in a part. Parts belong to fixed ranges of points, so that a run that was killed, or
met a full disk, goes on with those that are missing, and no point is ever done twice.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vdnnsim.errors import InvalidInput
from vdnnsim.files import read_text, whole_file, write_text
from vdnnsim.folder_lock import hold_folder
from vdnnsim.sweep.table import arrow

_FORMAT = 1
_PART = "part-{:07d}.parquet"


@dataclass(frozen=True)
class Manifest:
    """What a folder holds. `digest` covers the spec's meaning and the content of all that it names; `parts` are the
    numbers of points of each part, by the part's number. `inputs` has a digest of each input by its name, to tell which
    one changed; it is empty in folders that were begun before it was kept."""

    title: str
    digest: str
    version: str
    engine: str
    points: int
    raw_points: int
    chunk_points: int
    parts: tuple[int, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)

    def changed(self, other: Manifest) -> str:
        """The inputs that differ, in words. Where axes differ, what they name differs with them: only what both have is
        compared then."""
        if not self.inputs or not other.inputs:
            return "what cannot be told: it was begun without a list of its inputs"
        both = [name for name in other.inputs if name in self.inputs]
        names = [name for name in both if self.inputs[name] != other.inputs[name]]
        return ", ".join(names) or "what its axes name"


class Store:
    """The folder of one sweep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.points_folder = folder / "points"
        self._manifest = folder / "sweep.json"
        self._lock: int | None = None

    def open(self, manifest: Manifest, spec_text: str, resume: bool) -> None:
        """Begin a sweep in an empty or new folder, or go on with the same one. Raises `InvalidInput` for a folder that
        holds something else, and says what."""
        if self._manifest.is_file():
            self._check_same(self.manifest(), manifest, resume)
            self._clear_leftovers()
            return
        try:
            if self.folder.is_dir() and any(path.name != ".lock" for path in self.folder.iterdir()):
                raise InvalidInput(
                    f"{self.folder}: found a folder with other files, expected an empty or new one; "
                    "choose another --out"
                )
            self.points_folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"cannot write {self.folder}: {error.strerror}; choose a writable folder") from None
        write_text(self.folder / "spec.toml", spec_text)
        write_text(self._manifest, json.dumps({"format": _FORMAT, **asdict(manifest)}, indent=1) + "\n")

    def _check_same(self, found: Manifest, wanted: Manifest, resume: bool) -> None:
        if not resume:
            raise InvalidInput(
                f"{self.folder}: found a sweep already; add --resume to go on with it, or choose another --out"
            )
        if found.version != wanted.version:
            what = f"was begun with vdnnsim {found.version}, this is {wanted.version}"
        elif found.engine != wanted.engine:
            what = f"was begun with --engine {found.engine}, this is {wanted.engine}"
        elif found.digest != wanted.digest:
            what = f"differs from this one in {found.changed(wanted)}"
        else:
            return
        raise InvalidInput(
            f"{self.folder}: found a sweep that {what}; its rows and new ones would not belong together: "
            "choose another --out, or go back to what it was begun with"
        )

    def manifest(self) -> Manifest:
        """What the folder says it holds. Raises `InvalidFile` or `InvalidInput` where it holds no sweep."""
        if not self._manifest.is_file():
            raise InvalidInput(
                f"{self.folder}: found no sweep.json, expected the folder of a sweep; see vdnnsim sweep --out"
            )
        try:
            fields = json.loads(read_text(self._manifest))
            if fields.pop("format") != _FORMAT:
                raise InvalidInput(
                    f"{self._manifest}: found another format, expected {_FORMAT}; use the vdnnsim that wrote it"
                )
            return Manifest(**{**fields, "parts": tuple(int(count) for count in fields["parts"])})
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InvalidInput(f"{self._manifest}: damaged; the sweep must be run again into another folder") from None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held while writing. Raises `InvalidInput` where another process holds it. It ends with its process, however
        that ends."""
        self._lock = hold_folder(self.folder)
        try:
            yield
        finally:
            self.forget_lock()

    def forget_lock(self) -> None:
        """For a forked process: the lock is its parent's alone, and ends with it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def locked(self) -> bool:
        """Whether a process is writing now."""
        try:
            with self.lock():
                return False
        except InvalidInput:
            return True

    def _clear_leftovers(self) -> None:
        """What a killed process left half written; the lock says that nobody writes it now."""
        for path in self.points_folder.glob(".part-*"):
            path.unlink(missing_ok=True)

    def part_path(self, part: int) -> Path:
        return self.points_folder / _PART.format(part)

    def write_part(self, part: int, contents: bytes) -> None:
        """Write a part so that it is whole and on the disk, or not there. Raises `InvalidInput`, as for a full disk."""
        path = self.part_path(part)
        try:
            with whole_file(path) as temporary, temporary.open("wb") as file:
                file.write(contents)
                file.flush()
                os.fsync(file.fileno())
            _force(self.points_folder)
        except (OSError, InvalidInput) as error:
            why = error.strerror if isinstance(error, OSError) else str(error).rpartition(";")[0]
            raise InvalidInput(
                f"{path}: {why}. Nothing that was done is lost: make room, then run again with --resume"
            ) from None

    def done(self, manifest: Manifest) -> set[int]:
        """The parts that are there with all of their points, and those that have none. A part that cannot be read, or
        has another number of rows, counts as missing."""
        import pyarrow.parquet as pq

        pa = arrow()
        done = set()
        for part, points in enumerate(manifest.parts):
            path = self.part_path(part)
            if points == 0:
                done.add(part)
            elif path.is_file():
                with contextlib.suppress(pa.ArrowException, OSError):
                    if pq.read_metadata(path).num_rows == points:
                        done.add(part)
        return done

    def points_done(self, manifest: Manifest) -> int:
        """How many points are in parts that are there."""
        return sum(manifest.parts[part] for part in self.done(manifest))

    def part_files(self) -> list[Path]:
        """The parts there are, in the order of their points. Raises `InvalidInput` where there are none yet."""
        self.manifest()
        files = sorted(self.points_folder.glob("part-*.parquet"))
        if not files:
            raise InvalidInput(f"{self.folder}: no point is done yet; run it with --resume")
        return files


def _force(folder: Path) -> None:
    """Forces a folder's new names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""A sweep's folder: what it is, and one Parquet file for every chunk of points that is done.

    DIR/sweep.json            title, sizes, digest of all inputs; written first
    DIR/spec.toml             the spec as it was given
    DIR/points/part-*.parquet the rows; every file is whole, forced to the disk, then given its name
    DIR/.lock                 held by the process whose sweep it is
    DIR/.assignment           what its workers need, while they run

A point is done when its row lies in a part. Parts belong to fixed ranges of points, so that a run that was killed, or
met a full disk, goes on with those that are missing, and no point is ever done twice. Each part is sealed, and the
manifest has a checksum: what changed since it was written is no result, and is told.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from vdnnsim.errors import CannotWrite, InvalidInput
from vdnnsim.files import read_text, whole_file, write_text
from vdnnsim.folder_lock import hold_folder
from vdnnsim.sweep.seals import Seal, read_seal

MANIFEST = "sweep.json"
_FORMAT = 2
_MOST_TOLD = 5
"""Faulty parts in one message."""
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

    @property
    def identity(self) -> str:
        """The same for folders whose parts may stand for each other."""
        return _sha256([self.digest, self.version, self.engine, self.points, list(self.parts)])

    def changed(self, other: Manifest) -> str:
        """The inputs that differ, in words. Where axes differ, what they name differs with them: only what both have is
        compared then."""
        if not self.inputs or not other.inputs:
            return "what cannot be told: it was begun without a list of its inputs"
        both = [name for name in other.inputs if name in self.inputs]
        names = [name for name in both if self.inputs[name] != other.inputs[name]]
        return ", ".join(names) or "what its axes name"


def is_sweep(folder: Path) -> bool:
    """Whether a folder holds a sweep."""
    return (folder / MANIFEST).is_file()


class PartFile(NamedTuple):
    """A part that is there: its number, file and size; what its seal says, or what is wrong with it."""

    number: int
    path: Path
    size_bytes: int
    seal: Seal | None
    fault: str


class Store:
    """The folder of one sweep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.points_folder = folder / "points"
        self._manifest = folder / MANIFEST

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
        fields = asdict(manifest)
        document = {"format": _FORMAT, **fields, "checksum": _sha256(fields)}
        write_text(self._manifest, json.dumps(document, indent=1) + "\n")

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
            if (found := fields.pop("format")) in range(1, _FORMAT):
                raise InvalidInput(
                    f"{self._manifest}: found format {found}, expected {_FORMAT}; use the vdnnsim that wrote it"
                )
            if found != _FORMAT or fields.pop("checksum") != _sha256(fields):
                raise ValueError
            return Manifest(**{**fields, "parts": tuple(int(count) for count in fields["parts"])})
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InvalidInput(f"{self._manifest}: damaged; the sweep must be run again into another folder") from None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held while writing. Raises `InvalidInput` where another process holds it. It ends with its process, however
        that ends."""
        handle = hold_folder(self.folder)
        try:
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def passing(self, contents: bytes) -> Iterator[Path]:
        """A file for the processes that work for the one that holds the lock."""
        path = self.folder / ".assignment"
        try:
            self._write(path, contents)
            yield path
        finally:
            path.unlink(missing_ok=True)

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
        self._write(self.part_path(part), contents)

    @staticmethod
    def _write(path: Path, contents: bytes) -> None:
        try:
            with whole_file(path) as temporary, temporary.open("wb") as file:
                file.write(contents)
                file.flush()
                os.fsync(file.fileno())
            _force(path.parent)
        except (OSError, CannotWrite) as error:
            why = error.strerror if isinstance(error, OSError) else f"cannot write {error.path}: {error.why}"
            raise InvalidInput(
                f"{path}: {why}. Nothing that was done is lost: make room, then run again with --resume"
            ) from None

    def survey(self, manifest: Manifest) -> list[PartFile]:
        """The parts that are there, in the order of their points. Every byte is read and checked."""
        paths = ((number, self.part_path(number)) for number, points in enumerate(manifest.parts) if points)
        return [self._check(manifest, number, path)[0] for number, path in paths if path.is_file()]

    def done(self, manifest: Manifest) -> set[int]:
        """The parts that are there and whole, and those that have no points. Raises `InvalidInput` for Parquet files
        that are no part of the sweep: nothing would replace them."""
        self.check_strangers(manifest)
        empty = {number for number, points in enumerate(manifest.parts) if not points}
        return empty | {part.number for part in self.survey(manifest) if not part.fault}

    def strangers(self, manifest: Manifest) -> list[Path]:
        """Parquet files among the parts that this sweep never writes; readers of the folder would take their rows."""
        own = {self.part_path(number) for number, points in enumerate(manifest.parts) if points}
        return [path for path in sorted(self.points_folder.glob("[!.]*.parquet")) if path not in own]

    def check_strangers(self, manifest: Manifest) -> None:
        """Raises `InvalidInput` where there are `strangers`."""
        for path in self.strangers(manifest):
            raise InvalidInput(f"{path}: found a file that is no part of this sweep, expected its own only; move it")

    def parts(self) -> Iterator[bytes]:
        """The parts there are, in the order of their points. Raises `InvalidInput`, before the first, where there are
        none yet, where some are damaged or of another sweep, and for files that are no parts."""
        manifest = self.manifest()
        self.check_strangers(manifest)
        parts = self.survey(manifest)
        if not parts:
            raise InvalidInput(f"{self.folder}: no point is done yet; run it with --resume")
        _check_whole(parts)
        for part in parts:
            again, contents = self._check(manifest, part.number, part.path)
            _check_whole([again])
            yield contents

    @staticmethod
    def _check(manifest: Manifest, number: int, path: Path) -> tuple[PartFile, bytes]:
        try:
            contents = path.read_bytes()
        except OSError as error:
            return PartFile(number, path, 0, None, f"cannot be read ({error.strerror})"), b""
        found = read_seal(contents)
        if found is None:
            fault = "damaged: it is not what was written"
        elif found.sweep != manifest.identity:
            fault = "found a part of another sweep, expected one of this sweep"
        elif (found.number, found.points) != (number, manifest.parts[number]):
            fault = f"found part {found.number} under another's name, expected part {number}"
        else:
            fault = ""
        return PartFile(number, path, len(contents), found, fault), contents


def _check_whole(parts: Iterable[PartFile]) -> None:
    faults = [f"{part.path}: {part.fault}" for part in parts if part.fault]
    if faults:
        more = f"\n... and {len(faults) - _MOST_TOLD} more parts" if len(faults) > _MOST_TOLD else ""
        listed = "\n".join(faults[:_MOST_TOLD])
        raise InvalidInput(f"{listed}{more}\nRun the sweep again with --resume, which does their points again")


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _force(folder: Path) -> None:
    """Forces a folder's new names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

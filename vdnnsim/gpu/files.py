"""GPU profiles on disk: TOML, with where each number is from; and those that came with the package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vdnnsim.catalog import data_directory
from vdnnsim.errors import Fault, InvalidFile, InvalidInput, UnknownName
from vdnnsim.files import check_document, line_of, read_text, toml_document, toml_lines
from vdnnsim.gpu.overriding import overridden
from vdnnsim.gpu.profile import GpuProfile
from vdnnsim.gpu.roofline import Roofline
from vdnnsim.gpu.schema import ProfileFile


def read_profile_file(path: Path) -> ProfileFile:
    """What a TOML file says, with its base. Raises `InvalidFile` with every fault: file, line, field, found,
    expected."""
    text = read_text(path)
    return check_document(_document(path, text, ()), text, str(path), ProfileFile)


def _document(path: Path, text: str, above: tuple[Path, ...]) -> dict[str, object]:
    """The file's own tables over those of its base; `above` are the files that led here."""
    document = toml_document(text, str(path))
    base = document.get("base", "")
    if not isinstance(base, str) or not base:
        return document

    def fault(found: str, expected: str) -> InvalidFile:
        return InvalidFile([Fault(str(path), line_of(toml_lines(text), ("base",)), "base", found, expected)])

    try:
        base_path = profile_file(path.parent / base if base.endswith(".toml") else base)
    except UnknownName as error:
        raise fault(f"'{base}'", f"a GPU that 'vdnnsim list gpus' shows, or a TOML file: {error}") from None
    chain = (*above, path.resolve())
    if base_path.resolve() in chain:
        raise fault(f"'{base}', which leads back here", "a profile with a base of its own at most")
    return overridden(_document(base_path, read_text(base_path), chain), document, base, str(path), text)


def read_profile(path: Path) -> GpuProfile:
    """The profile in a TOML file, ready to be simulated. Raises `InvalidFile` with every fault: file, line, field,
    found, expected; also for a GPU that has no link."""
    file = read_profile_file(path)
    lines = toml_lines(read_text(path))

    def fault(place: tuple[str, ...], found: str, expected: str) -> Fault:
        return Fault(str(path), line_of(lines, place), ".".join(place), found, expected)

    if file.link is None:
        found = f"none: {file.no_link}" if file.no_link else "nothing"
        raise InvalidFile([fault(("link",), found, "[link.copy_out] and [link.copy_in], over which memory can leave")])
    profile = file.profile()
    limit = profile.memory_bandwidth_bytes_per_s
    expected = f"at most the {limit} B/s of the device memory behind it"
    faults = []
    for way, link in (("link", profile.link), ("link.remote", profile.remote)):
        for name, curve in (("copy_out", link.copy_out), ("copy_in", link.copy_in)) if link else ():
            if curve.bandwidth_bytes_per_s > limit:
                found = f"points that reach {curve.bandwidth_bytes_per_s} B/s"
                faults.append(fault((*way.split("."), name), found, expected))
    if faults:
        raise InvalidFile(faults)
    return profile


def list_profiles() -> Iterator[Path]:
    """The profiles that came with the package."""
    yield from sorted(data_directory("gpu_profiles").glob("*.toml"))


def profile_file(name: str | Path) -> Path:
    """The TOML file that is meant: the path itself, or that of a profile that came with the package. Raises
    `UnknownName`."""
    text = str(name)
    if isinstance(name, Path) or text.endswith(".toml") or "/" in text:
        return Path(name)
    known = {path.stem: path for path in list_profiles()}
    if text not in known:
        raise UnknownName("GPU", text, known)
    return known[text]


def load_profile(name: str | Path) -> GpuProfile:
    """A profile by name, or from a TOML file. Raises `UnknownName`, `InvalidFile`."""
    path = profile_file(name)
    profile = read_profile(path)
    if path != Path(name) and profile.name != path.stem:
        expected = f"'{path.stem}', as the file's name"
        raise InvalidFile([Fault(str(path), None, "name", f"'{profile.name}'", expected)])
    return profile


def load_roofline(name: str | Path) -> Roofline:
    """What a GPU's kernels cannot be faster than, by its profile's name or file. Raises `UnknownName`, `InvalidFile`,
    and `InvalidInput` for a profile that does not say."""
    path = profile_file(name)
    file = read_profile_file(path)
    if file.roofline is None:
        raise InvalidInput(
            f"{path}: roofline: found nothing, expected [roofline] with the specification's memory and fp32, by which "
            "kernels are carried over"
        )
    return file.roofline.roofline(file.name)

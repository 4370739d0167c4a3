"""Profiles that are others with some values changed, and links of which only a bandwidth is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.small_files import PROFILE_TOML
from vdnnsim.errors import InvalidFile
from vdnnsim.gpu import Link, LinkCurve, LinkPoint, Pinning, read_profile

OWN = 'provenance = "published"\nsource = "a log"\n'


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.toml"
    path.write_text(PROFILE_TOML, encoding="utf-8")
    return path


def read(base: Path, text: str) -> object:
    path = base.parent / "own.toml"
    path.write_text('schema = 1\nbase = "base.toml"\n' + text, encoding="utf-8")
    try:
        return read_profile(path)
    except InvalidFile as error:
        return [str(fault).replace(f"{base.parent}/", "") for fault in error.faults]


def test_what_a_profile_does_not_say_is_its_bases(base: Path) -> None:
    under = read_profile(base)
    own = read(base, f'name = "own"\n[link.copy_in]\nbandwidth = "8 GB/s"\nlatency = "7 us"\n{OWN}')
    assert own.name == "own"  # type: ignore[attr-defined]
    assert own.host == under.host  # type: ignore[attr-defined]
    assert own.link == Link(under.link.copy_out, LinkCurve.straight(8 * 10**9, 7000), 1_250_000)  # type: ignore[attr-defined]
    assert own.sources == {**under.sources, "link.copy_in": "a log"}  # type: ignore[attr-defined]
    assert read(base, "") == under


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[power]\nlost_w = 3\n" + OWN, "own.toml:4: power.lost_w: found an override of what is not there; expected"),
        (
            "[pinned]\ncall_ns = 3\n" + OWN,
            "own.toml:3: pinned: found an override of what is not there; expected one of",
        ),
        ("[memory]\ncapacity = '1 GB'\n", "own.toml:3: memory.source: found other numbers than those of the base; exp"),
        ("[memory]\ncapacity = '1'\n" + OWN, "own.toml:4: memory.capacity: found '1'; expected a size with its unit"),
    ],
)
def test_what_cannot_be_overridden(base: Path, text: str, fault: str) -> None:
    (found,) = read(base, text)  # type: ignore[misc]
    assert found.startswith(fault)


def test_bases_that_there_are_not(base: Path) -> None:
    base.write_text('schema = 1\nbase = "own.toml"\n', encoding="utf-8")
    (found,) = read(base, "")  # type: ignore[misc]
    assert found.startswith("base.toml:2: base: found 'own.toml', which leads back here; expected")
    base.write_text('schema = 1\nbase = "h300"\n', encoding="utf-8")
    (found,) = read(base, "")  # type: ignore[misc]
    assert found.startswith("base.toml:2: base: found 'h300'; expected a GPU that 'vdnnsim list gpus' shows")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("points = [", 'bandwidth = "1 GB/s"\npoints = [', "link.copy_out: found"),
        ("copy_out_slowdown = 1.25\ncopy_in_slowdown = 1", "", "link.both_ways: found"),
        ("[host]", f'[link.remote.copy_out]\nbandwidth = "2 GB/s"\n{OWN}[host]', "link.remote.copy_in: found nothing"),
    ],
)
def test_links_that_say_too_much_or_too_little(base: Path, old: str, new: str, fault: str) -> None:
    assert old in PROFILE_TOML
    base.write_text(PROFILE_TOML.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InvalidFile) as caught:
        read_profile(base)
    assert fault in str(caught.value)


def test_a_remote_way_needs_a_local_one(base: Path) -> None:
    head, _, rest = PROFILE_TOML.partition("[link.copy_out]")
    tail = rest[rest.index("[host]") :]
    remote = "".join(f'[link.remote.{way}]\nbandwidth = "2 GB/s"\n{OWN}' for way in ("copy_out", "copy_in"))
    base.write_text(head + remote + tail, encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"link.copy_out: found nothing; expected this field"):
        read_profile(base)


def test_a_curve_of_one_bandwidth() -> None:
    assert LinkCurve.straight(16 * 10**9).bandwidth_bytes_per_s == pytest.approx(16e9, rel=1e-7)
    assert LinkCurve.straight(16 * 10**9, 9000).points[0] == LinkPoint(4096, 9000)
    assert LinkCurve.straight(16 * 10**9).duration_ns(1 << 24) == pytest.approx((1 << 24) / 16, abs=2)


def test_pinned_memory_of_a_profile(base: Path) -> None:
    pinned = '[pinned]\nbudget = "3 GB"\nbandwidth = "1 GB/s"\ncall_ns = 50\nwhen = "step"\nblocks = "powers-of-two"\n'
    base.write_text(PROFILE_TOML + pinned + OWN, encoding="utf-8")
    pinning = read_profile(base).host.pinning
    assert pinning == Pinning(3 * 10**9, 10**9, 50, True, True)
    assert [pinning.block_bytes(size) for size in (0, 1, 4096, 4097)] == [0, 1, 4096, 8192]
    assert (pinning.taken_bytes((3, 5)), pinning.cost_ns((3, 5))) == (12, 2 * 50 + 12)
    base.write_text(PROFILE_TOML + pinned.replace("3 GB", "0 B") + OWN, encoding="utf-8")
    assert read_profile(base).host.pinning.budget_bytes == 0

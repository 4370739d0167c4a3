"""GPU profiles in TOML: what is read, and every kind of damage told with file, line, field."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.damage import damaged, read_or_refuse
from support.examples import tries
from support.small_files import PROFILE_TOML
from vdnnsim.errors import InvalidFile, UnknownName
from vdnnsim.gpu import (
    AfterWait,
    GpuProfile,
    HostCosts,
    Link,
    LinkCurve,
    LinkPoint,
    Power,
    list_profiles,
    load_profile,
    read_profile,
)

SIZE = "a size with its unit, such as 12GB or 12GiB"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(PROFILE_TOML, encoding="utf-8")
    return path


def faults_of(path: Path) -> list[str]:
    with pytest.raises(InvalidFile) as caught:
        read_profile(path)
    return [str(fault).replace(f"{path.parent}/", "") for fault in caught.value.faults]


def test_a_valid_profile(file: Path) -> None:
    labels = {
        "memory": "measured",
        "link.copy_out": "published",
        "link.copy_in": "published",
        "link.both_ways": "modelled",
        "host": "modelled",
        "power": "modelled",
    }
    assert read_profile(file) == GpuProfile(
        "tiny-gpu",
        "A tiny GPU",
        2 * 2**30,
        100 * 10**9,
        Link(
            LinkCurve((LinkPoint(1000, 10_000), LinkPoint(10_000_000, 1_010_000))),
            LinkCurve((LinkPoint(1000, 10_000), LinkPoint(10_000_000, 2_010_000))),
            1_250_000,
            1_000_000,
        ),
        HostCosts(5000, 4000, 3000, 200, 100),
        Power(15.0, 250, 10.5),
        labels,
        dict.fromkeys(labels, "made up"),
    )


def test_power_may_be_left_out_and_copies_may_start_late(file: Path) -> None:
    more = "free_ns = 100\ncopy_start_ns = 7\nstream_wait_ns = 9\nstream_start_ns = 6"
    text = PROFILE_TOML[: PROFILE_TOML.index("[power]")].replace("free_ns = 100", more)
    file.write_text(text, encoding="utf-8")
    profile = read_profile(file)
    assert profile.power is None
    assert "power" not in profile.provenance
    host = profile.host
    assert (host.copy_start_ns, host.stream_wait_ns, host.stream_start_ns) == (7, 9, 6)


AFTER_WAIT = """\
[host.after_wait]
waits_ns = [0, 300_000, 6_000_000]
kernel_ns = [0, 1700, 57_000]
copy_ns = [0, 600, 22_000]
allocate_ns = [0, 900, 19_000]
synchronise_ns = [0, 0, 0]
provenance = "measured"
source = "made up"
"""


def test_calls_may_cost_more_after_a_wait(file: Path) -> None:
    file.write_text(PROFILE_TOML + AFTER_WAIT, encoding="utf-8")
    profile = read_profile(file)
    assert profile.host.after_wait == AfterWait(
        (0, 300_000, 6_000_000), (0, 1700, 57_000), (0, 600, 22_000), (0, 900, 19_000), (0, 0, 0)
    )
    assert profile.provenance["host.after_wait"] == "measured"
    assert profile.sources["host.after_wait"] == "made up"


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        (
            "[0, 300_000,",
            "[1, 300_000,",
            49,
            "waits_ns: found [1, 300000, 6000000]; expected two or more",
        ),
        (
            "[0, 1700,",
            "[0, -1700,",
            50,
            "kernel_ns[1]: found -1700; expected greater than or equal to 0",
        ),
        (
            "[0, 600,",
            "[0,",
            51,
            "copy_ns: found [0, 22000]; expected 3 numbers, one for each of waits_ns",
        ),
        ("[0, 900,", "[5, 900,", 52, "allocate_ns: found [5, 900, 19000]; expected the first 0: what"),
        ("synchronise_ns = [0, 0, 0]\n", "", 48, "synchronise_ns: found nothing; expected this field"),
        (
            "kernel_ns = [0, 1700, 57_000]",
            "kernel_ns = 1700",
            50,
            "kernel_ns: found 1700; expected a valid",
        ),
        ('source = "made up"\n', "", 48, "source: found nothing; expected this field"),
    ],
)
def test_damage_to_what_calls_cost_after_a_wait(file: Path, old: str, new: str, line: int, expected: str) -> None:
    file.write_text(PROFILE_TOML + AFTER_WAIT.replace(old, new), encoding="utf-8")
    (fault,) = faults_of(file)
    assert fault.startswith(f"tiny.toml:{line}: host.after_wait.{expected}")


CALLS = """\
[host.calls]
costs_ns = { hook = 700, "hook copy out" = 20_000 }
provenance = "measured"
source = "made up"
"""


def test_calls_that_put_nothing_on_a_stream_may_have_costs(file: Path) -> None:
    file.write_text(PROFILE_TOML + CALLS, encoding="utf-8")
    profile = read_profile(file)
    assert profile.host.calls_ns == {"hook": 700, "hook copy out": 20_000}
    assert profile.provenance["host.calls"] == "measured"


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("hook = 700", "hook = -1", 49, "costs_ns.hook: found -1; expected greater than or equal to 0"),
        ("hook = 700", 'hook = "700 ns"', 49, "costs_ns.hook: found '700 ns'; expected a valid integer"),
        ('{ hook = 700, "hook copy out" = 20_000 }', "{}", 49, "costs_ns: found {}; expected at least 1"),
        ('source = "made up"\n', "", 48, "source: found nothing; expected this field"),
    ],
)
def test_damage_to_what_such_calls_cost(file: Path, old: str, new: str, line: int, expected: str) -> None:
    file.write_text(PROFILE_TOML + CALLS.replace(old, new), encoding="utf-8")
    (fault,) = faults_of(file)
    assert fault.startswith(f"tiny.toml:{line}: host.calls.{expected}")


KERNELS = """\
[link.kernels]
slowdowns = [
  { kind = "convolution", copy_out = 1.0, copy_in = 1.0215 },
  { kind = "normalisation", copy_out = 0.98, copy_in = 1.017 },
]
provenance = "measured"
source = "made up"
"""


def test_copies_may_slow_kernels_by_their_class(file: Path) -> None:
    file.write_text(PROFILE_TOML + KERNELS, encoding="utf-8")
    profile = read_profile(file)
    assert profile.link.kernels == {"convolution": (1_000_000, 1_021_500), "normalisation": (980_000, 1_017_000)}
    assert profile.provenance["link.kernels"] == "measured"
    assert profile.with_link_bandwidth("1GB/s").link.kernels == profile.link.kernels


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("0.98,", "0.4,", 49, "slowdowns[1].copy_out: found 0.4; expected greater than or equal to 0.5"),
        ('"normalisation"', '""', 49, "slowdowns[1].kind: found ''; expected string should have"),
        (", copy_in = 1.017", "", 49, "slowdowns[1].copy_in: found nothing; expected this field"),
        ('"normalisation"', '"convolution"', 49, "slowdowns: found [{'kind': 'convolution',"),
    ],
)
def test_damage_to_how_copies_slow_kernels(file: Path, old: str, new: str, line: int, expected: str) -> None:
    file.write_text(PROFILE_TOML + KERNELS.replace(old, new), encoding="utf-8")
    (fault,) = faults_of(file)
    assert fault.startswith(f"tiny.toml:{line}: link.kernels.{expected}")
    assert "convolution" not in new or fault.endswith("expected each kind once, and 'convolution' is there twice")


DAMAGE: dict[str, tuple[str, str, list[str]]] = {
    "a capacity without unit": ('"2 GiB"', '"2"', [f"tiny.toml:6: memory.capacity: found '2'; expected {SIZE}"]),
    "a capacity that is a number": ('"2 GiB"', "2", ["tiny.toml:6: memory.capacity: found 2; expected a valid string"]),
    "wrong unit": ('"2 GiB"', '"2 parsecs"', [f"tiny.toml:6: memory.capacity: found '2 parsecs'; expected {SIZE}"]),
    "negative capacity": ('"2 GiB"', '"-2 GiB"', [f"tiny.toml:6: memory.capacity: found '-2 GiB'; expected {SIZE}"]),
    "capacity of NaN": ('"2 GiB"', '"nan GiB"', [f"tiny.toml:6: memory.capacity: found 'nan GiB'; expected {SIZE}"]),
    "capacity of nothing": (
        '"2 GiB"',
        '"0 GiB"',
        ["tiny.toml:6: memory.capacity: found '0 GiB'; expected a value from 1 B to 2^62 B"],
    ),
    "capacity without end": (
        '"2 GiB"',
        '"1e999999 GiB"',
        [f"tiny.toml:6: memory.capacity: found '1e999999 GiB'; expected {SIZE}"],
    ),
    "a bandwidth in bytes": (
        '"100 GB/s"',
        '"100 GB"',
        ["tiny.toml:7: memory.bandwidth: found '100 GB'; expected a bandwidth with its unit, such as 16GB/s"],
    ),
    "a link faster than the memory behind it": (
        '"100 GB/s"',
        '"9 GB/s"',
        [
            "tiny.toml:11: link.copy_out: found points that reach 9999000000 B/s; "
            "expected at most the 9000000000 B/s of the device memory behind it"
        ],
    ),
    "a duration in bytes": (
        'duration = "1.01 ms"',
        'duration = "1.01 MB"',
        [
            "tiny.toml:12: link.copy_out.points[1].duration: found '1.01 MB'; "
            "expected a duration with its unit, such as 5us or 1.5ms"
        ],
    ),
    "a point that is a number": (
        "points = [\n",
        "points = [\n7,\n",
        ["tiny.toml:12: link.copy_out.points[0]: found 7; expected a table"],
    ),
    "points that fall": (
        'duration = "1.01 ms"',
        'duration = "1.01 us"',
        [
            "tiny.toml:12: link.copy_out.points: found [{'size': '1 KB', 'duration': '10 us'}, {'size': '10 MB',...; "
            "expected two points or more, both sizes and times rising"
        ],
    ),
    "a slowdown of NaN": (
        "copy_out_slowdown = 1.25",
        "copy_out_slowdown = nan",
        ["tiny.toml:25: link.both_ways.copy_out_slowdown: found nan; expected a finite number"],
    ),
    "a slowdown of 1e400": (
        "copy_out_slowdown = 1.25",
        "copy_out_slowdown = 1e400",
        ["tiny.toml:25: link.both_ways.copy_out_slowdown: found inf; expected a finite number"],
    ),
    "a slowdown of text": (
        "copy_out_slowdown = 1.25",
        'copy_out_slowdown = "1.25"',
        ["tiny.toml:25: link.both_ways.copy_out_slowdown: found '1.25'; expected a valid number"],
    ),
    "negative time": (
        "kernel_ns = 5000",
        "kernel_ns = -5000",
        ["tiny.toml:31: host.kernel_ns: found -5000; expected greater than or equal to 0"],
    ),
    "fractional time": (
        "kernel_ns = 5000",
        "kernel_ns = 5000.0",
        ["tiny.toml:31: host.kernel_ns: found 5000.0; expected a valid integer"],
    ),
    "negative power": (
        "idle_w = 15.0",
        "idle_w = -1",
        ["tiny.toml:40: power.idle_w: found -1; expected greater than or equal to 0"],
    ),
    "unknown provenance": (
        '"measured"',
        '"guessed"',
        ["tiny.toml:8: memory.provenance: found 'guessed'; expected 'measured', 'published' or 'modelled'"],
    ),
    "no source": (
        'provenance = "measured"\nsource = "made up"\n',
        'provenance = "measured"\n',
        ["tiny.toml:5: memory.source: found nothing; expected this field"],
    ),
    "unknown field": (
        "free_ns = 100",
        "free_ns = 100\nthink_ns = 7",
        ["tiny.toml:36: host.think_ns: found 7; expected no field of this name"],
    ),
    "an upper-case key keeps its name": (
        'date = "2026-11-22"',
        "DATE = 7",
        ["tiny.toml:47: conditions.DATE: found 7; expected a valid string"],
    ),
    "a table missing": (
        "[memory]",
        "[memories]",
        [
            "tiny.toml: memory: found nothing; expected this field",
            "tiny.toml:5: memories: found {'capacity': '2 GiB', 'bandwidth': '100 GB/s', 'provenanc...; "
            "expected no field of this name",
        ],
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_with_line_and_field(file: Path, name: str) -> None:
    old, new, expected = DAMAGE[name]
    assert PROFILE_TOML.count(old) >= 1
    file.write_text(PROFILE_TOML.replace(old, new, 1), encoding="utf-8")
    assert faults_of(file) == expected


def test_built_in_profiles_can_be_read_and_are_called_as_their_files() -> None:
    names = [path.stem for path in list_profiles() if path.stem != "mi300a"]  # which has no link
    assert "titan-x-maxwell" in names
    for name in names:
        profile = load_profile(name)
        assert profile.name == name
        assert profile.capacity_bytes > 2**30
        assert set(profile.sources) == set(profile.provenance)


def test_profiles_by_name_and_by_path(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert load_profile("tiny.toml") == load_profile(file) == load_profile("./tiny.toml")
    with pytest.raises(UnknownName, match="did you mean 'titan-x-maxwell'"):
        load_profile("titan-x")


random_damage = settings(max_examples=tries(40), suppress_health_check=[HealthCheck.function_scoped_fixture])


@random_damage
@given(damaged(PROFILE_TOML.encode()))
def test_random_damage(file: Path, contents: bytes) -> None:
    file.write_bytes(contents)
    read_or_refuse(read_profile, file)


@random_damage
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_random_bytes(file: Path, contents: bytes) -> None:
    file.write_bytes(contents)
    assert not read_or_refuse(read_profile, file)

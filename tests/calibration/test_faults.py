"""A report that something goes wrong with: nothing that was measured is lost, nothing is half written, and the same
command goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

pytest.importorskip("torch")

from support.fake_device import Disturbance, FakeBench, FakeDevice, Truth, What
from vdnnsim import files
from vdnnsim.calibration.cases import read_cases
from vdnnsim.calibration.records import CaseRecord, Verdict, read_records
from vdnnsim.calibration.report import Report, make_report, summary
from vdnnsim.errors import CannotWrite
from vdnnsim.gpu import read_profile
from vdnnsim.machines.real.nvml import GpuState
from vdnnsim.network import load_network
from vdnnsim.trace import read_trace

FOR_EVER_NS = 10**15
NETWORK = """schema = 1
name = "{name}"
input = [3, 64, 64]
layer = [
  {{ name = "conv1", kind = "CONV", channels = {channels}, kernel = 3, padding = 1 }},
  {{ name = "relu1", kind = "ACTV" }},
  {{ name = "fc2", kind = "FC", channels = 10 }},
  {{ name = "softmax", kind = "SOFTMAX" }},
]
"""
GROUP = """[[case]]
network = "{name}.toml"
batch = 64
policies = ["baseline(p)", "vdnn-all(m)"]
limited = {{}}
"""
ONE, TWO = {"name": "one", "channels": 64}, {"name": "two", "channels": 128}


class Stopping(FakeDevice):
    """Ctrl-C at a moment of the virtual clock."""

    stops_at_ns = FOR_EVER_NS

    def now_ns(self) -> int:
        if self.clock_ns >= self.stops_at_ns:
            raise KeyboardInterrupt
        return super().now_ns()


class Silent(FakeDevice):
    """A GPU of a machine without NVML."""

    def state(self) -> GpuState:
        return None  # type: ignore[return-value]


def listed(folder: Path, *networks: dict[str, object], name: str = "cases") -> Path:
    text = 'schema = 1\ngpu = "fake"\n'
    for network in networks:
        (folder / f"{network['name']}.toml").write_text(NETWORK.format(**network))
        text += GROUP.format(**network)
    (folder / f"{name}.toml").write_text(text)
    return folder / f"{name}.toml"


def report(cases: Path, out: Path, device: FakeDevice | None = None) -> Report:
    return make_report(FakeBench(device or FakeDevice(), {}), read_cases(cases), out)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a complete report of network one, in `out`."""
    folder = tmp_path_factory.mktemp("quiet")
    report(listed(folder, ONE), folder / "out")
    return folder


@pytest.fixture
def begun(quiet: Path, tmp_path: Path) -> Path:
    """The same folder with a longer list, whose second network is still to be measured."""
    shutil.copytree(quiet, tmp_path, dirs_exist_ok=True)
    listed(tmp_path, ONE, TWO)
    return tmp_path


def check_whole(out: Path) -> tuple[CaseRecord, ...]:
    """Every file can be read, and no part of another one lies about."""
    known = {".lock", "fake.toml", "results.json", "table.md", "errors.png"}
    for path in out.rglob("*"):
        if path.is_dir():
            continue
        if path.parent.name == "machines":
            read_profile(path)
        elif path.suffix == ".csv":
            read_trace(path, load_network(str(out.parent / f"{path.stem.split('_')[0]}.toml"), 64))
        else:
            assert path.name in known or path.with_suffix(".csv").exists(), path
    return read_records(out / "results.json")


def of(records: Iterable[CaseRecord], network: str) -> list[CaseRecord]:
    return [record for record in records if record.network == network]


@pytest.fixture(scope="module")
def begins_ns(quiet: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """When each part of the second network begins, on the virtual clock."""
    folder = tmp_path_factory.mktemp("timed")
    shutil.copytree(quiet, folder, dirs_exist_ok=True)
    device, found = FakeDevice(), {}
    cases = read_cases(listed(folder, ONE, TWO))
    bench = FakeBench(device, {})
    make_report(bench, cases, folder / "out", lambda _done, _total, now: found.setdefault(now, device.clock_ns))
    return found


@pytest.mark.parametrize(
    ("moment", "kept"),
    [("two: round 1", 0), ("two: vdnn-all(m)", 1), ("two: baseline(p) again", 2), ("two: vdnn-all(m) again", 2)],
)
def test_ctrl_c_at_any_moment(begun: Path, begins_ns: dict[str, int], moment: str, kept: int) -> None:
    """What was measured stays, and is not measured again; a case that was still to be measured once more is."""
    stopping = Stopping()
    stopping.stops_at_ns = next(at_ns for what, at_ns in begins_ns.items() if what.startswith(moment)) + 1
    before = of(read_records(begun / "out" / "results.json"), "one")
    with pytest.raises(KeyboardInterrupt):
        report(begun / "cases.toml", begun / "out", stopping)
    found = check_whole(begun / "out")
    assert of(found, "one") == before
    assert len(of(found, "two")) == kept
    finished = [record for record in of(found, "two") if record.repeated]
    assert len(finished) == (1 if moment == "two: vdnn-all(m) again" else 0)
    again = report(begun / "cases.toml", begun / "out")
    assert len(again.records) == 4
    assert all(record.repeated for record in again.records)
    assert again.records[:2] == tuple(before)
    assert all(record in again.records for record in finished)
    assert check_whole(begun / "out") == again.records


def test_a_full_disk_ends_the_report_at_once(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the third file of the second network; after room was made the same command goes on."""
    written: list[Path] = []
    write_text = Path.write_text

    def until_full(path: Path, *words: object, **named: object) -> int:
        written.append(path)
        if len(written) == 4:
            with open("/dev/full", "w", encoding="utf-8") as full:
                full.write("x" * 10_000)
        return write_text(path, *words, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(files.Path, "write_text", until_full)
    with pytest.raises(CannotWrite, match=r"cannot write .*: No space left on device"):
        report(begun / "cases.toml", begun / "out")
    assert len(written) == 4
    assert len(check_whole(begun / "out")) == 3
    monkeypatch.undo()
    assert len(report(begun / "cases.toml", begun / "out").records) == 4


def test_a_card_that_another_process_fills(begun: Path) -> None:
    """The network that finds no room is named, with the bytes; once the other one is gone the report goes on."""
    truth = Truth()
    full = FakeDevice([Disturbance(What.OTHER_PROCESS, 0, FOR_EVER_NS, 1)], Truth(other_bytes=truth.capacity_bytes))
    found = report(begun / "cases.toml", begun / "out", full)
    assert set(found.failures) == {"two batch 64, fp32"}
    assert "0 B free" in found.failures["two batch 64, fp32"]
    assert "end what else uses the device" in found.failures["two batch 64, fp32"]
    assert len(check_whole(begun / "out")) == 2
    assert not report(begun / "cases.toml", begun / "out").failures


def test_a_policy_that_does_not_fit_leaves_the_others_of_its_network_alone(begun: Path) -> None:
    """A list may have been written for a larger GPU."""
    cases = listed(begun, ONE)
    limited = 'limited = { "baseline(m)" = "1KB", "vdnn-conv(m)" = "1GB" }'
    cases.write_text(cases.read_text().replace("limited = {}", limited))
    found = report(cases, begun / "out")
    assert list(found.failures) == ["one batch 64, fp32, baseline(m)"]
    assert found.failures["one batch 64, fp32, baseline(m)"].startswith("baseline(m) does not fit: out of memory in")
    assert [record.policy for record in found.records] == ["baseline(p)", "vdnn-all(m)", "vdnn-conv(m)"]
    assert "failed: one batch 64, fp32, baseline(m)" in (begun / "out" / "table.md").read_text()


def test_a_link_that_never_comes_to_rest(begun: Path) -> None:
    """It is slower than when the profile was measured, and steady at that. The report ends, and says first what it is
    worth."""
    device = FakeDevice([Disturbance(What.LINK_BOTH, 0, FOR_EVER_NS, 1.2)])
    found = of(report(begun / "cases.toml", begun / "out", device).records, "two")
    assert {record.policy: record.verdict for record in found}["vdnn-all(m)"] is Verdict.CANNOT_BE_TOLD
    assert summary(found).startswith("This machine is too disturbed to tell: 1 of 2 cases cannot be told here")
    assert device.clock_ns < 60 * 10**9
    check_whole(begun / "out")


def test_without_nvml_nothing_is_told_and_all_is_measured(begun: Path) -> None:
    found = of(report(begun / "cases.toml", begun / "out", Silent()).records, "two")
    assert [record.state for record in found] == ["", ""]
    assert {record.verdict for record in found} == {Verdict.AGREES}


def test_a_shorter_list_loses_no_cases_of_a_longer_one(begun: Path) -> None:
    report(begun / "cases.toml", begun / "out")
    before = read_records(begun / "out" / "results.json")
    found = report(listed(begun, TWO, name="shorter"), begun / "out")
    assert {record.network for record in found.records} == {"two"}
    assert {record.title for record in read_records(begun / "out" / "results.json")} == {one.title for one in before}

"""`calibrate doctor`: what a script of disturbances does to a machine is found, graded and answered with advice."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from typer.testing import CliRunner  # noqa: E402

from support.fake_device import (  # noqa: E402
    Disturbance,
    FakeBench,
    FakeDevice,
    Range,
    Truth,
    What,
    bursts,
    half_speed_spells,
)
from vdnnsim.calibration.diagnosis import (  # noqa: E402
    ADVICE,
    VERDICTS,
    Finding,
    Grade,
    Kind,
    diagnosis_json,
    diagnosis_text,
    expected,
    findings,
    grade,
)
from vdnnsim.calibration.doctor import QUICK, Core, Examination, HostSeen, Reading, examine, steadiness  # noqa: E402
from vdnnsim.cli.app import app  # noqa: E402
from vdnnsim.errors import InvalidInput  # noqa: E402
from vdnnsim.machines.real.nvml import GpuState  # noqa: E402

FOR_EVER_NS = 10**15
MS = 1_000_000
TRUTH = Truth(other_kernels_ns=3 * MS)
"""The kernel of the load takes as long as on a GPU."""
SHORT = Range(20, 200)


def seen(*disturbances: Disturbance, truth: Truth = TRUTH) -> Examination:
    return examine(FakeBench(FakeDevice(disturbances, truth), {}), effort=QUICK)


@cache
def quiet() -> Examination:
    return seen()


def found(examination: Examination) -> dict[Kind, Finding]:
    return {finding.kind: finding for finding in findings(examination)}


def test_a_quiet_machine_is_fit() -> None:
    assert findings(quiet()) == []
    assert grade(quiet()) is Grade.FIT
    assert max(expected(quiet())) < 0.001
    link, truth = quiet().link, TRUTH.link
    assert link.out.fastest_ns == pytest.approx(truth.copy_out.duration_ns(link.size_bytes), rel=0.005)
    assert link.back.fastest_ns == pytest.approx(truth.copy_in.duration_ns(link.size_bytes), rel=0.005)
    assert link.out_both_ways.median_ns / link.out.median_ns == pytest.approx(1.04, abs=0.005)
    assert link.in_both_ways.median_ns / link.back.median_ns == pytest.approx(1.07, abs=0.005)
    text = diagnosis_text(quiet())
    assert text.startswith(VERDICTS[Grade.FIT])
    assert "54.69 GB/s" in text
    assert "nothing: run" in text
    assert max(map(len, diagnosis_text(quiet(), 60).splitlines()[1:])) <= 60


def test_a_bad_machine_is_told_apart() -> None:
    """As an H100 of a shared host was: copies out 24 % of the time slower, in 48 %, for up to 180 ms; the host in 60 %
    of the probes."""
    bad = seen(
        *bursts(What.LINK_OUT, 2, 0.24), *bursts(What.LINK_IN, 3, 0.48), *half_speed_spells(9, 0.6, lasts_ms=SHORT)
    )
    assert grade(bad) is Grade.UNFIT
    assert set(found(bad)) == {Kind.LINK, Kind.HOST}
    assert found(bad)[Kind.LINK].grade is Grade.UNFIT
    assert bad.host.slow_share == pytest.approx(0.6, abs=0.15)
    assert 20 * MS < bad.link.back.longest_slow_ns < 500 * MS
    assert bad.link.slow_looks <= bad.link.disturbed_looks <= 1
    assert quiet().link.disturbed_looks == 0
    assert expected(bad).host == pytest.approx(0.05 * bad.host.slow_stretches)
    assert diagnosis_text(bad).startswith(VERDICTS[Grade.UNFIT])


def shared_host(out: float, back: float, excess: float, host: float, mean: float | None = None) -> Examination:
    """Figures of a real machine instead of those of the fake one."""
    link = quiet().link
    return replace(
        quiet(),
        host=HostSeen(1000, 60_000, (Core(0, 60_000, 0.9), Core(1, 60_000, 0.9)), 150 * MS, host),
        link=replace(
            link,
            out=replace(link.out, slow_share=out, median_excess=excess, mean_excess=mean or excess),
            back=replace(link.back, slow_share=back, median_excess=excess, mean_excess=mean or excess),
            slow_looks=out + (1 - out) * back,
        ),
    )


def test_the_readings_of_an_h100_in_a_bad_and_in_a_good_hour() -> None:
    """The bad hour is bad by each of its parts, however little its bursts weigh on average."""
    assert grade(shared_host(0.24, 0.48, 0.02, 0.15)) is Grade.UNFIT
    assert grade(shared_host(0.01, 0.01, 0.01, 0.6)) is Grade.UNFIT
    good = shared_host(0.02, 0.02, 1.223 / 1.214 - 1, 0.15)
    assert findings(good) == []
    assert expected(good).host == pytest.approx(0.0075)
    assert expected(good).link == pytest.approx(0.0074, abs=0.0001)


def test_copies_that_take_longer_in_the_median_or_on_average() -> None:
    """A middle off by more than 1 %, and few bursts that weigh a tenth of all copies."""
    assert grade(shared_host(0.02, 0.02, 0.009, 0)) is Grade.FIT
    assert grade(shared_host(0.02, 0.02, 0.011, 0)) is Grade.SOME
    assert grade(shared_host(0.05, 0.04, 0.001, 0, mean=0.09)) is Grade.FIT
    assert grade(shared_host(0.05, 0.04, 0.001, 0, mean=0.11)) is Grade.UNFIT


def test_the_worst_comes_first() -> None:
    told = findings(shared_host(0.05, 0.1, 0.02, 0.6))
    assert [(one.kind, one.grade) for one in told] == [(Kind.HOST, Grade.UNFIT), (Kind.LINK, Grade.SOME)]


def test_a_link_that_is_slow_now_and_then_spoils_some_cases() -> None:
    some = seen(*bursts(What.LINK_OUT, 4, 0.25, lasts_ms=Range(2, 20), excess=Range(0.05, 0.3)))
    assert {kind: one.grade for kind, one in found(some).items()} == {Kind.LINK: Grade.SOME}
    assert "0 % of those in" in found(some)[Kind.LINK].figures
    assert "ask again in an hour" in diagnosis_text(some)


def test_slow_cores_spoil_some_cases_and_more_of_them_all() -> None:
    some, most = (seen(*half_speed_spells(9, share, lasts_ms=SHORT)) for share in (0.5, 0.75))
    assert {kind: one.grade for kind, one in found(some).items()} == {Kind.HOST: Grade.SOME}
    assert {kind: one.grade for kind, one in found(most).items()} == {Kind.HOST: Grade.UNFIT}
    assert "take a machine whose cores" in diagnosis_text(some)


def test_cores_that_are_slow_for_seconds_are_moved_away_from() -> None:
    """As on an H200 on which the doctor found three probes of five slow, and a report told 45 of 48 cases."""
    moved = seen(*half_speed_spells(9, 0.6))
    assert moved.host.slow_share > 0.25
    assert moved.host.slow_stretches < 0.1
    assert grade(moved) is Grade.FIT


def test_cores_of_a_slower_kind_do_no_harm() -> None:
    mixed = seen(*(Disturbance(What.HOST, 0, FOR_EVER_NS, 1.6, core) for core in range(4)))
    assert grade(mixed) is Grade.FIT
    assert mixed.host.slow_share == 0
    assert "4 of 8 cores never ran at full speed" in diagnosis_text(mixed)


def test_clocks_that_are_held_back() -> None:
    """All the time, which kernels alone would not tell, and now and then."""
    always = seen(Disturbance(What.CLOCK, 0, FOR_EVER_NS, 1.2))
    assert {kind: one.grade for kind, one in found(always).items()} == {Kind.STATE: Grade.SOME}
    assert "power cap in 100 % of the time" in found(always)[Kind.STATE].figures
    at_times = seen(*bursts(What.CLOCK, 1, 0.4, lasts_ms=SHORT, excess=Range(0.05, 0.3)))
    assert {Kind.STATE, Kind.KERNELS} == set(found(at_times))
    assert "nvidia-smi -lgc" in diagnosis_text(at_times)


def test_reasons_that_the_driver_names_and_does_not_count() -> None:
    """The one that the owner chose holds nothing back."""
    state = GpuState(reasons=("hardware slowdown", "application clocks"))
    told = found(replace(quiet(), gpu=replace(quiet().gpu, loaded=state)))
    assert told[Kind.STATE].figures == "clocks held back by hardware slowdown under load"


def test_other_processes_and_the_memory_that_they_hold() -> None:
    beside = seen(Disturbance(What.OTHER_PROCESS, 0, FOR_EVER_NS, 1))
    assert {kind: one.grade for kind, one in found(beside).items()} == {Kind.PROCESSES: Grade.SOME}
    assert "1, 1.00 GB" in found(beside)[Kind.PROCESSES].figures
    full = seen(Disturbance(What.OTHER_PROCESS, 0, FOR_EVER_NS, 1), truth=replace(TRUTH, other_bytes=30 * 10**9))
    assert "50.00 GB free of 80.00 GB" in found(full)[Kind.MEMORY].figures
    assert "End what holds the memory" in diagnosis_text(full)


def test_memory_errors() -> None:
    state = GpuState(ecc_uncorrected=2)
    told = found(replace(quiet(), gpu=replace(quiet().gpu, loaded=state)))
    assert told[Kind.ECC].grade is Grade.SOME
    assert "Reset the GPU" in told[Kind.ECC].advice


class Silent(FakeDevice):
    """A GPU of a machine without NVML."""

    def state(self) -> GpuState:
        return None  # type: ignore[return-value]


def test_without_nvml_the_kernels_still_tell() -> None:
    plain = examine(FakeBench(Silent((), TRUTH), {}), effort=QUICK)
    assert grade(plain) is Grade.FIT
    assert set(found(plain)) == {Kind.NVML}
    assert "under load: not told" in diagnosis_text(plain)
    slowed = bursts(What.CLOCK, 1, 0.4, lasts_ms=SHORT, excess=Range(0.05, 0.3))
    disturbed = examine(FakeBench(Silent(slowed, TRUTH), {}), effort=QUICK)
    assert found(disturbed)[Kind.KERNELS].grade is not Grade.FIT


def test_a_card_without_room_for_the_reference_is_refused_in_words() -> None:
    full = [Disturbance(What.OTHER_PROCESS, 0, FOR_EVER_NS, 1)]
    with pytest.raises(InvalidInput, match="end what else uses the device"):
        seen(*full, truth=replace(TRUTH, other_bytes=TRUTH.capacity_bytes))


def test_readings_by_hand() -> None:
    """The fastest is what three reached. Slow is beyond 3 % of it; one spell lasts over two readings."""
    lasted = [99, 100, 100, 103, 104, 150, 101]
    begins = [0, 100, 200, 300, 500, 700, 900]
    told = steadiness([Reading(*one) for one in zip(begins, lasted, strict=True)], 1.015)
    assert (told.number, told.fastest_ns, told.median_ns) == (7, 100, 101)
    assert told.slow_share == pytest.approx(2 / 7)
    assert told.longest_slow_ns == 350
    assert told.median_excess == pytest.approx(0.01)
    assert told.mean_excess == pytest.approx(0.58 / 7)


def test_copies_between_the_limit_of_a_report_and_that_of_the_doctor() -> None:
    """2 % slower for a third of the time: no finding, and told."""
    some = seen(*bursts(What.LINK_OUT, 4, 0.33, lasts_ms=Range(2, 20), excess=Range(0.0199, 0.0201)))
    assert some.link.slow_looks == 0
    assert some.link.disturbed_looks == pytest.approx(0.33, abs=0.12)
    assert f"link in reports: slow at {100 * some.link.disturbed_looks:.0f} %" in diagnosis_text(some)


def test_there_is_advice_and_a_verdict_for_everything() -> None:
    assert set(ADVICE) == set(Kind)
    assert set(VERDICTS) == set(Grade)


def test_json_holds_all_that_the_text_says() -> None:
    document = json.loads(diagnosis_json(quiet()))
    assert (document["schema"], document["grade"]) == (1, "within 1 %")
    assert document["seen"]["link"]["out"]["fastest_ns"] == quiet().link.out.fastest_ns
    assert len(document["seen"]["host"]["cores"]) == 8
    assert set(document["expected_errors"]) == {"link", "link_with_bursts", "host", "kernels"}


def test_the_command_on_the_cpu(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["calibrate", "doctor", "--device", "cpu", "--json", str(tmp_path / "d.json")])
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "d.json").read_text())
    assert document["verdict"] in result.output
    assert "no gpu: this is a CPU" in result.output
    assert document["seen"]["link"]["size_bytes"] == 1 << 20


def test_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(app, ["calibrate", "doctor"])
    assert isinstance(result.exception, InvalidInput)
    assert result.exception.exit_code == 2
    assert "use --device cpu" in str(result.exception)

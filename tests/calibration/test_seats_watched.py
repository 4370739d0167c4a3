"""What disturbed iterations of several GPUs is told from each process's own cores as its iteration begins and ends, and
from the links when all have ended: processes wait for each other, and what waits wakes slowly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest

pytest.importorskip("torch")

from support.crews import thread_crew
from support.fake_device.bench import FakeBench
from support.fake_device.device import FakeDevice
from support.fake_device.disturbances import Disturbance, What
from support.fake_device.truth import Truth
from support.two_convs import NETWORK
from vdnnsim.calibration.several import seat
from vdnnsim.calibration.several.messages import Ran
from vdnnsim.calibration.several.report import run_once
from vdnnsim.calibration.several.seat import Seat
from vdnnsim.calibration.watch import HOST, LINK, Seen
from vdnnsim.gpu import AfterWait

MS = 1_000_000
PAUSE_NS = 5 * MS
"""How long a process waits for its next call, while other GPUs have theirs."""
WAKES_NS = 400_000
"""So long afterwards its core is slow: longer than a probe takes there."""
COLD = AfterWait((0, MS, 10 * MS), (0, 40_000, 80_000), (0, 15_000, 30_000), (0, 500, 900), (0, 0, 0))
TRUTH = replace(Truth(clock_ns=20_000), host=replace(Truth().host, after_wait=COLD))


class Sleepy(FakeDevice):
    """A device whose host falls asleep when its process waits."""

    _slow_until_ns = 0

    def sleep(self) -> None:
        self.idle(PAUSE_NS)
        self._slow_until_ns = self.clock_ns + WAKES_NS

    def _spend(self, cost_ns: int) -> None:
        super()._spend(2 * cost_ns if self.clock_ns < self._slow_until_ns else cost_ns)


class Waiting(Seat):
    """A seat of a small program, which waits before everything that it is asked."""

    def __init__(self, disturbances: Sequence[Disturbance], number: int) -> None:
        self.device = Sleepy(disturbances, TRUTH)

        @contextmanager
        def opened(_name: str) -> Iterator[FakeBench]:
            yield FakeBench(self.device, {})

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(seat, "open_bench", opened)
            super().__init__("fake", number)
        bench = FakeBench(self.device, {})
        program = bench.study(NETWORK).run("vdnn-all(p)").program
        self._loaded = bench.load(bench.machine(NETWORK, "fp32"), program)

    def settle(self) -> None:
        self.device.sleep()
        super().settle()

    def ready(self) -> None:
        self.device.sleep()
        super().ready()

    def run(self, at_ns: int) -> Ran:  # noqa: ARG002 - the moment is of another clock
        self.device.sleep()
        return super().run(self.device.clock_ns + 10 * MS)

    def after(self) -> tuple[str, ...]:
        self.device.sleep()
        return super().after()


def ran(*second: Disturbance) -> Seen[dict[int, Ran]]:
    """One iteration of two GPUs that begin together; this disturbs the second one."""
    with thread_crew({"GPU 0": partial(Waiting, (), 0), "GPU 1": partial(Waiting, second, 1)}) as crew:
        return run_once(crew, {0: 0, 1: 0})


@pytest.fixture(scope="module")
def quiet() -> Seen[dict[int, Ran]]:
    return ran()


def test_a_host_that_falls_asleep_while_it_waits_for_the_others_is_not_slow(quiet: Seen[dict[int, Ran]]) -> None:
    assert quiet.disturbed_by == ()
    assert all(one.end_ns - one.begin_ns > MS // 2 for one in quiet.value.values())


@pytest.mark.parametrize(
    ("what", "from_ns", "to_ns", "told"),
    [
        (What.HOST, -4 * MS, MS, (HOST,)),
        (What.HOST, MS // 2, 1000 * MS, (HOST,)),
        (What.LINK_OUT, -4 * MS, 1000 * MS, (LINK,)),
        (What.LINK_IN, MS // 2, 1000 * MS, (LINK,)),
    ],
)
def test_what_is_really_slow_is_told(
    what: What, from_ns: int, to_ns: int, told: tuple[str, ...], quiet: Seen[dict[int, Ran]]
) -> None:
    """From shortly before the iteration on, and from its midst on."""
    begin_ns = quiet.value[1].begin_ns
    found = ran(Disturbance(what, begin_ns + from_ns, begin_ns + to_ns, 1.5))
    assert found.disturbed_by == told

"""One of several GPUs of a host: a device with its own cores, pinned memory and programs, and what it is asked to do.

Seats know nothing of each other. Whatever they do at the same time begins at a moment of the host's clock, which all
processes of a machine have in common. What is to be quiet meanwhile is looked at before and after: a process's own
cores by itself, right where its iteration begins and ends, since they fall asleep while it waits for the others; the
link by one after the other when all have ended, since looking copies.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from vdnnsim.calibration.bench import Bench, open_bench
from vdnnsim.calibration.cases import limited_study
from vdnnsim.calibration.link import measure_link
from vdnnsim.calibration.profile_text import profile_text
from vdnnsim.calibration.running import load
from vdnnsim.calibration.several.messages import Card, Case, Expected, Inputs, Observed, Ran
from vdnnsim.calibration.several.streaming import Streaming
from vdnnsim.calibration.stored import machine_id
from vdnnsim.calibration.to_the_byte import offloaded_bytes, peak_bytes, placements, placements_digest
from vdnnsim.calibration.tracing import measure_trace
from vdnnsim.calibration.watch import HOST, LINK
from vdnnsim.errors import InvalidInput
from vdnnsim.files import write_text
from vdnnsim.gpu import read_profile
from vdnnsim.machines.real.machine import LoadedProgram
from vdnnsim.network import load_network
from vdnnsim.policies import Plan, decide, make_policy
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study
from vdnnsim.trace import read_trace, write_trace
from vdnnsim.workloads import workload_of

_LOOK_NS = 2_000_000
"""How long before an iteration its cores are looked at; until then the one that is held is kept awake."""
CREATED_BY = "vdnnsim calibrate report --gpus"


def open_seat(device: str, number: int, visible: str | None, cores: Sequence[int]) -> Seat:
    """A seat in this process, which from now on is on these cores (none: all of its) and sees this GPU alone. Raises
    `InvalidInput` where the machine has none."""
    if visible is not None:
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    if cores:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(len(cores))
    return Seat(device, number)


class Seat:
    """A device of this process, opened when it is first asked for."""

    def __init__(self, device: str, number: int) -> None:
        self.number = number
        self._stack = ExitStack()
        self._bench: Bench = self._stack.enter_context(open_bench(device))
        self._streaming: Streaming | None = None
        self._loaded: LoadedProgram | None = None
        self._predicted: PolicyRun | None = None
        self._begin: Callable[[int], tuple[int, int]] = _nothing_loaded
        self._link_at_rest = True

    def close(self) -> None:
        """Give the device back, with its memory and the pinned memory."""
        self._stack.close()

    def card(self) -> Card:
        """What this GPU is, and what else is on it."""
        device = self._bench.device
        state = device.state()
        is_gpu = bool(device.uuid)
        return Card(
            machine_id(device) if is_gpu else f"{machine_id(device)}-{self.number}",
            device.describe(),
            is_gpu,
            device.total_bytes(),
            device.free_bytes(),
            (state.other_processes or 0) if state else 0,
            (state.busy_percent or 0) if state else 0,
            device.budget_ns,
        )

    def measure_profile(self, gpu: str, path: Path) -> None:
        """Write the profile of this GPU, measured now."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, profile_text(measure_link(self._bench), gpu))

    def measure_trace(self, network: str, batch: int, math: str, gpu: str, inputs: Inputs) -> None:
        """Write the trace of a network on this GPU, measured now."""
        inputs.trace.parent.mkdir(parents=True, exist_ok=True)
        after_wait = read_profile(inputs.profile).host.after_wait
        trained = load_network(network, batch)
        write_trace(measure_trace(self._bench, trained, math, gpu, CREATED_BY, after_wait=after_wait), inputs.trace)

    def expect(self, profile: Path) -> None:
        """Take the link to be as it was measured: slower than that is slow."""
        self._bench.watch.link.expect(read_profile(profile).link)

    def prepare_streams(self) -> int:
        """Get memory for copies; returns the bytes of each of them."""
        self._give_back()
        self._streaming = Streaming(self._bench.device)
        return self._streaming.piece_bytes

    def stream(self, directions: Sequence[str], copies: int, at_ns: int) -> dict[str, list[tuple[int, int]]]:
        """Copy one piece after the other in these directions at once, from a moment on: (begin, end) of each."""
        if self._streaming is None:
            raise InvalidInput("streams: nothing prepared")
        with self._bench.device.host.quiet():
            return self._streaming.run(directions, copies, at_ns)

    def load(self, case: Case, own: Inputs, first: Inputs) -> Expected:
        """Make a case ready. All GPUs run the program that is planned with the `first` one's numbers; what is expected
        of it here is by this GPU's `own`. Raises `InvalidInput` for what does not fit."""
        self._give_back()
        study = _study(case, own)
        planned = _study(case, first)
        if case.capacity is not None:
            planned = limited_study(planned, case.capacity)
        study = study.within(planned.gpu.capacity_bytes)
        policy = make_policy(case.policy)
        plan: Plan = decide(policy, planned.problem())
        self._predicted = study.run_plan(policy.name, plan)
        prepared, program, failure, *_ = study.prepare(plan)
        if failure is not None:
            raise InvalidInput(f"{policy.name} does not fit: {self._predicted.result.reason}")
        machine = self._bench.machine(study.network, study.trace.header.math)
        self._loaded = load(study, self._bench, machine, program, prepared)
        self._loaded.run()
        timeline = self._predicted.timeline
        return Expected(study.gpu.capacity_bytes, study.pool, timeline.iteration_time_ns, peak_bytes(timeline))

    def settle(self) -> None:
        """Wait a little until the link is at rest; one GPU after the other, since each copies."""
        watch = self._bench.watch
        self._link_at_rest = watch.link.settle()
        watch.clocks.settle()

    def ready(self) -> None:
        """Put everything in place for one iteration."""
        self._begin = self._program().poised()

    def run(self, at_ns: int) -> Ran:
        """One iteration from a moment on, and whether the host was slow right before or right after it."""
        device, host = self._bench.device, self._bench.watch.host
        with host.quiet():
            while device.now_ns() < at_ns - _LOOK_NS:
                pass
        settled = host.settle()
        begin_ns, end_ns = self._begin(at_ns)
        return Ran(begin_ns, end_ns, () if host.held() and settled else (HOST,))

    def after(self) -> tuple[str, ...]:
        """What else the iteration was disturbed by; one GPU after the other, when the iterations of all have ended."""
        watch = self._bench.watch
        with watch.host.quiet():
            watch.link.wake()
            at_rest = watch.link.held() and self._link_at_rest
        return (*(() if at_rest else (LINK,)), *watch.clocks.doubts())

    def observe(self) -> Observed:
        """A marked iteration: where everything lay."""
        if self._predicted is None:
            raise InvalidInput("case: nothing loaded")
        timeline = self._program().observe()
        same = placements(timeline.memory) == placements(self._predicted.timeline.memory)
        digest = placements_digest(timeline.memory)
        return Observed(peak_bytes(timeline), offloaded_bytes(timeline), digest, same)

    def _give_back(self) -> None:
        """Let go what holds the memory of what was done before."""
        self._streaming = self._loaded = None
        self._begin = _nothing_loaded

    def _program(self) -> LoadedProgram:
        if self._loaded is None:
            raise InvalidInput("case: nothing loaded")
        return self._loaded


def _nothing_loaded(_at_ns: int) -> tuple[int, int]:
    raise InvalidInput("case: nothing loaded")


def _study(case: Case, inputs: Inputs) -> Study:
    network = load_network(case.network, case.batch)
    return Study(workload_of(network), read_trace(inputs.trace, network), read_profile(inputs.profile))

"""The fake device itself: `Device` on a virtual clock, which every call of the host moves on by what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial

import torch

from support.fake_device.disturbances import Disturbance, Part, Rate, Script, What, plain
from support.fake_device.streams import Kind, Piece, Streams
from support.fake_device.truth import TrueKernel, Truth
from vdnnsim.gpu import CallKind
from vdnnsim.machines.real.device import Action, out_of_device_memory, out_of_pinned_memory
from vdnnsim.machines.real.host import Host
from vdnnsim.machines.real.nvml import GpuState
from vdnnsim.program import GPU_STREAMS, Stream
from vdnnsim.units import PPM

_MHZ = 2000
_REHEARSE_EVERY_NS = 250_000
_CURVES = {Stream.COPY_OUT: "copy_out", Stream.COPY_IN: "copy_in"}


class FakeDevice:
    """See `Device`. Its memory has sizes and no bytes, so that networks of any size load.

    The host has `cores`; a thread that nothing holds on one of them is on core 0, as far as the system is concerned
    (`system_core`). Where it `rehearses`, a long wait keeps its calls from going cold.
    """

    name = "fake"
    uuid = "GPU-fake"
    reference_bytes = 64 << 20
    largest_copy_bytes = 256 << 20
    host_programs = (("alexnet", 128),)
    slow_link = 1.015
    budget_ns = 1_000_000_000
    torch_device = torch.device("meta")

    def __init__(
        self,
        disturbances: Iterable[Disturbance] = (),
        truth: Truth | None = None,
        cores: int = 8,
        pinned_bytes: int = 1 << 40,
        rehearses: bool = False,
    ) -> None:
        self.truth = truth or Truth()
        self.script = Script(disturbances)
        self.clock_ns = 0
        """The virtual time."""
        self.system_core = 0
        self._core: int | None = None
        self._waited_ns = dict.fromkeys(CallKind, 0)
        """How long the host has waited since its last call of each kind."""
        self._waits = False
        """Whether the host's last call was a wait."""
        link = self.truth.link
        self._streams = Streams(
            self.script,
            {
                Stream.COPY_OUT: _ratio(link.both_ways_out_slowdown_ppm),
                Stream.COPY_IN: _ratio(link.both_ways_in_slowdown_ppm),
            },
        )
        self._slab = _memory(0)
        self._pinned_bytes = pinned_bytes
        self._rehearses = rehearses
        self.host = Host(self._probe, range(cores)[::-1], self._hold)

    def describe(self) -> Mapping[str, str]:
        """As `Device.describe`."""
        return {"gpu": "Fake GPU, of no metal", "driver": "none", "libraries": "none", "clocks": "virtual"}

    def state(self) -> GpuState:
        """As `Device.state`: a clock that the script slows is held back by the power cap, and of the other processes
        the script says how many there are."""
        now_ns, slowed = self.clock_ns, self.script.of(What.CLOCK)
        clock = math.prod(one.factor for one in self.script.under_way(What.CLOCK, now_ns))
        others = len(self.script.under_way(What.OTHER_PROCESS, now_ns))
        return GpuState(
            sm_mhz=round(_MHZ / clock),
            sm_max_mhz=_MHZ,
            temperature_c=50,
            reasons=("power cap",) if clock > 1 else (),
            reason_ns={"power cap": sum(max(0, min(now_ns, one.to_ns) - one.from_ns) for one in slowed)},
            other_processes=others,
            other_bytes=others * self.truth.other_bytes,
        )

    def free_bytes(self) -> int:
        """As `Device.free_bytes`; other processes hold memory."""
        others = len(self.script.under_way(What.OTHER_PROCESS, self.clock_ns))
        return self.truth.capacity_bytes - others * self.truth.other_bytes

    def total_bytes(self) -> int:
        """As `Device.total_bytes`."""
        return self.truth.capacity_bytes

    def make_slab(self, size_bytes: int) -> torch.Tensor:
        """As `Device.make_slab`."""
        if size_bytes > self._slab.numel():
            if size_bytes > self.free_bytes():
                raise out_of_device_memory(self.name, size_bytes, self.free_bytes())
            self._slab = _memory(size_bytes)
        return self._slab

    def make_pinned(self, sizes_bytes: Sequence[int]) -> list[torch.Tensor]:
        """As `Device.make_pinned`."""
        if sum(sizes_bytes) > self._pinned_bytes:
            raise out_of_pinned_memory(sum(sizes_bytes), self._pinned_bytes)
        return [_memory(size_bytes) for size_bytes in sizes_bytes]

    def pinning_ns(self, size_bytes: int) -> int:
        """As `Device.pinning_ns`."""
        if size_bytes > self._pinned_bytes:
            raise out_of_pinned_memory(size_bytes, self._pinned_bytes)
        begin_ns = self.clock_ns
        self._spend(self.truth.host.pinning.call_cost_ns(size_bytes))
        return self.clock_ns - begin_ns

    def copy(self, stream: Stream, target: torch.Tensor, source: torch.Tensor) -> Action:
        """As `Device.copy`."""
        if target.numel() != source.numel():
            raise ValueError(f"copy of {source.numel()} bytes into {target.numel()}")
        return partial(self._copy, stream, source.numel())

    def reference_copies(self) -> Mapping[Stream, Action]:
        """As `Device.reference_copies`."""
        return {stream: partial(self._copy, stream, self.reference_bytes) for stream in _CURVES}

    def on_compute(self, kernels: Action) -> Action:
        """As `Device.on_compute`. What launches no kernel of a layer stands for a kernel of some other kind."""

        def launch() -> None:
            before = self._streams.put_on[Stream.COMPUTE]
            kernels()
            if self._streams.put_on[Stream.COMPUTE] == before:
                self.launch(TrueKernel("other", self.truth.other_kernels_ns))

        return launch

    def launch(self, kernel: TrueKernel) -> None:
        """Put a kernel on the compute stream. It begins `start_ns` after the beginning of its launch at the soonest;
        where the launch takes longer than it can, so much later."""
        begin_ns = self.clock_ns
        self._call(CallKind.KERNEL, kernel.launch_ns)
        ready_ns = max(begin_ns, self.clock_ns + kernel.start_ns - kernel.launch_ns)
        slows = (_ratio(kernel.slows_out_ppm), _ratio(kernel.slows_in_ppm))
        self._streams.put(Stream.COMPUTE, Piece(Kind.KERNEL, ready_ns, kernel.duration_ns, slows))

    def record(self, kernels: Action) -> Action:
        """As `Device.record`: nothing is recorded here."""
        return kernels

    def wait(self, stream: Stream, meanwhile: Action | None = None) -> Action:
        """As `Device.wait`; `meanwhile` is done by a host that rehearses."""
        return partial(self._wait, lambda: self._streams.work_off(stream), meanwhile)

    def wait_for(self, piece: Piece | None, meanwhile: Action | None = None) -> None:
        """The host's wait for a piece; `meanwhile` as in `wait`."""
        self._wait(lambda: 0 if piece is None else self._streams.work_until(piece), meanwhile)

    def event(self, stream: Stream) -> FakeEvent:
        """As `Device.event`."""
        return FakeEvent(self, stream)

    def rehearsal(self, direction: Stream) -> Action:  # noqa: ARG002
        """As `Device.rehearsal`: the calls of the host, and no work."""

        def rehearse() -> None:
            if self._rehearses:
                self._call(CallKind.COPY, self.truth.host.copy_ns)
                self._call(CallKind.KERNEL, self.truth.host.kernel_ns)

        return rehearse

    def timed(self, stream: Stream, action: Action) -> tuple[Action, FakeStopwatch]:
        """As `Device.timed`."""
        stopwatch = FakeStopwatch()

        def marked() -> None:
            stopwatch.begin = self._mark(stream)
            action()
            stopwatch.end = self._mark(stream)

        return marked, stopwatch

    def head_start(self, duration_ns: int, stream: Stream = Stream.COMPUTE) -> None:
        """As `Device.head_start`; of a copy stream nobody asks it here."""
        assert stream is Stream.COMPUTE
        self.launch(TrueKernel("head start", duration_ns))

    def poison(self, memory: torch.Tensor, stream: Stream | None = None) -> None:
        """As `Device.poison`; there are no bytes."""

    def now_ns(self) -> int:
        """As `Device.now_ns`: the virtual clock, once it is read."""
        self._spend(self.truth.clock_ns)
        return self.clock_ns

    def drain(self) -> None:
        """As `Device.drain`."""
        self._wait(lambda: max(self._streams.work_off(stream) for stream in GPU_STREAMS))

    def enter(self) -> None:
        """As `Device.enter`. What comes next is a stretch of its own, which begins as cold as the host gets."""
        after_wait = self.truth.host.after_wait
        self._waited_ns = dict.fromkeys(CallKind, after_wait.waits_ns[-1] if after_wait else 0)

    def close(self) -> None:
        """As `Device.close`."""
        self._slab = _memory(0)

    def idle(self, duration_ns: int) -> None:
        """Let the host do nothing for so long."""
        self.clock_ns += duration_ns
        for call in CallKind:
            self._waited_ns[call] += duration_ns

    def last_given(self, stream: Stream) -> Piece | None:
        """The piece that was put on a stream last."""
        return self._streams.last[stream]

    def hold(self, stream: Stream, piece: Piece | None) -> None:
        """What is put on a stream next waits for a piece of another one; recording the event and this together cost
        the host what a profile says of one."""
        self._spend(self.truth.host.stream_wait_ns)
        self._streams.put(stream, Piece(Kind.MARK, 0, 0, after=piece))

    def pool_call(self, cost_ns: int) -> None:
        """An allocation or a free."""
        self._call(CallKind.ALLOCATE, cost_ns)

    def _copy(self, stream: Stream, size_bytes: int) -> None:
        self._call(CallKind.COPY, self.truth.host.copy_ns)
        work_ns = getattr(self.truth.link, _CURVES[stream]).duration_ns(size_bytes)
        self._streams.put(stream, Piece(Kind.COPY, self.clock_ns + self.truth.host.copy_start_ns, work_ns))

    def _mark(self, stream: Stream) -> Piece:
        marks = self.truth.marks
        self._spend(marks.host_ns)
        piece = Piece(Kind.MARK, self.clock_ns + marks.start_ns, marks.stream_ns)
        self._streams.put(stream, piece)
        return piece

    def _wait(self, work_off: Callable[[], int], meanwhile: Action | None = None) -> None:
        """Wait until that is worked off. Right behind another wait the code of waiting is warm; else what it is cold
        takes time before it waits."""
        if not self._waits:
            self._call(CallKind.SYNCHRONISE, 0)
        end_ns = work_off()
        while meanwhile and self._rehearses and self.clock_ns + _REHEARSE_EVERY_NS < end_ns:
            self.idle(_REHEARSE_EVERY_NS)
            meanwhile()
        self.idle(max(0, end_ns - self.clock_ns))
        self._spend(self.truth.host.synchronise_ns)
        self._waits = True

    def _call(self, call: CallKind, cost_ns: int) -> None:
        self._waits = False
        waited_ns, self._waited_ns[call] = self._waited_ns[call], 0
        after_wait = self.truth.host.after_wait
        self._spend(cost_ns + (after_wait.extra_ns(call, waited_ns) if after_wait else 0))

    def _spend(self, cost_ns: int) -> None:
        """The host works for what takes so long at full speed."""
        if cost_ns:
            core = self.system_core if self._core is None else self._core
            self.clock_ns = self.script.course(Part.HOST, core).end_ns(self.clock_ns, cost_ns)

    def _probe(self) -> int:
        """As `probe_ns`: the best of three."""
        times = []
        for _ in range(3):
            begin_ns = self.clock_ns
            self._spend(self.truth.probe_ns)
            times.append(self.clock_ns - begin_ns)
        return min(times)

    @contextmanager
    def _hold(self, core: int | None) -> Iterator[None]:
        before = self._core
        self._core = before if core is None else core
        try:
            yield
        finally:
            self._core = before


class FakeEvent:
    """See `Event`: the piece behind which it stands."""

    def __init__(self, device: FakeDevice, on: Stream) -> None:
        self._device, self._on = device, on
        self._piece: Piece | None = None

    def record(self) -> None:
        """As `Event.record`."""
        self._piece = self._device.last_given(self._on)

    def host_wait(self, meanwhile: Action | None = None) -> Action:
        """As `Event.host_wait`."""
        return lambda: self._device.wait_for(self._piece, meanwhile)

    def stream_wait(self, stream: Stream) -> Action:
        """As `Event.stream_wait`."""
        return lambda: self._device.hold(stream, self._piece)


class FakeStopwatch:
    """See `Stopwatch`: two marks on a stream."""

    begin: Piece
    end: Piece

    def read(self) -> tuple[int, int]:
        """As `Stopwatch.read`. Raises `RuntimeError` where nobody has waited for the marks."""
        if self.begin.end_ns is None or self.end.end_ns is None:
            raise RuntimeError("a stopwatch was read before the host had waited for its stream")
        return self.begin.end_ns, self.end.end_ns


def _ratio(ppm: int) -> Rate:
    return plain(Fraction(ppm, PPM))


def _memory(size_bytes: int) -> torch.Tensor:
    return torch.empty(size_bytes, dtype=torch.uint8, device=FakeDevice.torch_device)

"""What may disturb a measurement, looked at before and after each one: the host's cores and the link.

A machine that others share is at times slower than it can be. Each witness times one small piece of work that is the
same everywhere, and knows how fast that can go: the host a short loop, the link a copy in each direction, milliseconds
long. What was measured while a witness saw less than full speed is measured again; what stays so is marked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from heapq import nsmallest
from typing import Generic, NamedTuple, Protocol, TypeVar

from vdnnsim.calibration.gpu_state import ClockWitness
from vdnnsim.gpu import Link
from vdnnsim.machines.real.device import Action, Device
from vdnnsim.machines.real.host import Host
from vdnnsim.program import Stream

T = TypeVar("T")
HOST, LINK = "host", "link"
TRIES = 4
"""How often something is measured until nothing disturbed it."""
_DIRECTIONS = (Stream.COPY_OUT, Stream.COPY_IN)
_FIRST_LOOKS = 30
_PATIENCE, _IMPATIENCE = 150, 3
"""Reference copies until the link has to have come to rest: 0.4 s on a GPU, longer than bursts that were seen. Where
it did not come to rest, so few are waited for until it does again."""
_WITNESSES_OF_FASTEST = 3
"""The fastest of a reference is what so many readings reached: one reading alone may be a slip of a clock."""


class Seen(NamedTuple, Generic[T]):
    """What was measured in the end, and which witnesses saw it disturbed."""

    value: T
    disturbed_by: tuple[str, ...] = ()

    @property
    def quiet(self) -> bool:
        return not self.disturbed_by


class Witness(Protocol):
    """One part of the machine that is at times slower than it can be."""

    @property
    def name(self) -> str:
        """What it is called in headers."""

    def settle(self) -> bool:
        """Make the part run at full speed, or wait a little until it does; False where it does not."""

    def held(self) -> bool:
        """Whether it runs at full speed now."""


class Fastest:
    """How fast one piece of work can go, from all readings so far, and which readings are slower than that."""

    def __init__(self, slow: float) -> None:
        self._slow = slow
        self._best_ns: list[int] = []

    def expect(self, reading_ns: int) -> None:
        """Take it as known that it can go as fast as this."""
        self._best_ns = nsmallest(_WITNESSES_OF_FASTEST, [*self._best_ns, *[reading_ns] * _WITNESSES_OF_FASTEST])

    @property
    def fastest_ns(self) -> int:
        """What some readings reached; 0 before the first."""
        return self._best_ns[-1] if self._best_ns else 0

    def is_fast(self, reading_ns: int) -> bool:
        """Take note of a reading and say whether it is at full speed."""
        self._best_ns = nsmallest(_WITNESSES_OF_FASTEST, [*self._best_ns, reading_ns])
        return reading_ns <= self._slow * self.fastest_ns


class LinkWitness:
    """The reference copies of a device: alone on an idle link, each direction by itself."""

    name = LINK

    def __init__(self, device: Device) -> None:
        self._device = device
        self.copies = device.reference_copies()
        self._fastest = {stream: Fastest(device.slow_link) for stream in _DIRECTIONS}
        self._patience = _PATIENCE
        self._slow: dict[Stream, list[bool]] = {stream: [] for stream in _DIRECTIONS}
        self._excess: dict[Stream, list[float]] = {stream: [] for stream in _DIRECTIONS}
        for _ in range(_FIRST_LOOKS):
            for stream in _DIRECTIONS:
                self._is_fast(stream)

    def settle(self) -> bool:
        """As `Witness.settle`: waits for the end of a burst."""
        settled = any(all(map(self._is_fast, _DIRECTIONS)) for _ in range(self._patience))
        self._patience = _PATIENCE if settled else _IMPATIENCE
        return settled

    def wake(self) -> None:
        """A copy in each direction that nobody looks at: behind a pause the first one takes longer, on any link."""
        for stream in _DIRECTIONS:
            timed_ns(self._device, stream, self.copies[stream])

    def held(self) -> bool:
        """As `Witness.held`, in both directions; kept for `slow_share` and `looks_told`."""
        for stream in _DIRECTIONS:
            reading_ns = timed_ns(self._device, stream, self.copies[stream])
            self._slow[stream].append(not self.is_fast(stream, reading_ns))
            self._excess[stream].append(reading_ns / self.fastest_ns(stream) - 1)
        return not any(slow[-1] for slow in self._slow.values())

    def fastest_ns(self, stream: Stream) -> int:
        """What the reference copy takes at full speed."""
        return self._fastest[stream].fastest_ns

    def is_fast(self, stream: Stream, reading_ns: int) -> bool:
        """Whether a reading of a reference copy by someone else is at full speed."""
        return self._fastest[stream].is_fast(reading_ns)

    def expect(self, link: Link) -> None:
        """The link as it was measured on this machine before: slower than that is slow, however steady."""
        for stream, curve in zip(_DIRECTIONS, (link.copy_out, link.copy_in), strict=True):
            self._fastest[stream].expect(curve.duration_ns(self._device.reference_bytes))

    def slow_share(self, since: int = 0) -> float:
        """The share of all looks, or of those since so many, at which a copy was slower than it can be, in the worse
        direction. A look is taken behind a measurement: while the link is waited for it is slow more often."""
        later = [slow[since:] for slow in self._slow.values()]
        return max(sum(slow) / max(1, len(slow)) for slow in later)

    @property
    def looks(self) -> int:
        """How many there were behind measurements."""
        return len(self._slow[Stream.COPY_OUT])

    def looks_told(self) -> str:
        """How often the copies behind measurements were slow, and how much longer than the fastest they took; empty
        where there were none."""
        if not self.looks:
            return ""
        told = []
        for stream, name in zip(_DIRECTIONS, ("out", "in"), strict=True):
            excess = sorted(self._excess[stream])
            half, most = (100 * excess[len(excess) * tenths // 10] for tenths in (5, 9))
            told.append(f"{half:.1f} % and {most:.1f} % {name}")
        return (
            f"behind {100 * self.slow_share():.1f} % the reference copy was slow; in the median and ninth decile it "
            f"took {', '.join(told)} longer than the fastest; "
        )

    def _is_fast(self, stream: Stream) -> bool:
        reading_ns = timed_ns(self._device, stream, self.copies[stream])
        return self._fastest[stream].is_fast(reading_ns)


class Watch:
    """All witnesses of a device. The link's is made when it is first asked for: it takes memory."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.taken = 0
        self.disturbed: Counter[str] = Counter()
        self._link: LinkWitness | None = None
        self.clocks = ClockWitness(device)

    @property
    def host(self) -> Host:
        return self.device.host

    @property
    def link(self) -> LinkWitness:
        """The link's witness. Raises `DeviceRefused` where its memory is missing."""
        if self._link is None:
            self._link = LinkWitness(self.device)
        return self._link

    def undisturbed(
        self, measure: Callable[[], T], tries: int = TRIES, *, link: bool = False, clocks: bool = False
    ) -> Seen[T]:
        """What `measure` gives, taken again while a witness sees less than full speed from its beginning to its end, up
        to `tries` times. Where no core is fast, it is not tried again: that would only take longer.

        With `link`, the link is watched as well: for whatever is measured beside a copy; with `clocks` the GPU's.
        """
        witnesses: list[Witness] = [self.host, *([self.link] if link else []), *([self.clocks] if clocks else [])]
        while True:
            slow = {witness.name for witness in witnesses if not witness.settle()}
            with self.host.quiet():
                value = measure()
            held = {one.name: one.held() for one in reversed(witnesses)}  # of all: shares are told of every look
            disturbed = [name for name, at_rest in held.items() if name in slow or not at_rest]
            self.note(disturbed)
            tries -= 1
            if not disturbed or HOST in slow or tries <= 0:
                return Seen(value, tuple(sorted(disturbed)))

    def note(self, disturbed_by: Iterable[str]) -> None:
        """Count one measurement and what disturbed it."""
        self.taken += 1
        self.disturbed.update(disturbed_by)

    def describe(self) -> dict[str, str]:
        """What was seen so far, for the headers of files."""
        told = {
            HOST: f"{self.disturbed[HOST]} of {self.taken} measurements were taken while the host ran slower than it "
            "can, and set aside"
        }
        if self._link is not None:
            out_ns, in_ns = (self._link.fastest_ns(stream) for stream in _DIRECTIONS)
            told[LINK] = (
                f"{self.disturbed[LINK]} of {self.taken} measurements were taken while the link ran slower than it "
                f"can, and set aside; {self._link.looks_told()}the fastest reference copy took {out_ns} ns out and "
                f"{in_ns} ns in"
            )
        return told


def timed_ns(device: Device, stream: Stream, action: Action) -> int:
    """How long one piece of work takes on its stream, from an idle one until it is done."""
    marked, stopwatch = device.timed(stream, action)
    marked()
    device.wait(stream)()
    begin_ns, end_ns = stopwatch.read()
    return end_ns - begin_ns

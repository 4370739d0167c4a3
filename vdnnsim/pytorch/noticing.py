"""What a user should know of a captured step: what hooks do not see, what could not be put back. Knows no PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vdnnsim.calibration.samples import Sample
from vdnnsim.errors import InvalidInput
from vdnnsim.profiler.recording import MODULE, NODE, STEP, HostWaits, Recording
from vdnnsim.pytorch.packed import Label
from vdnnsim.units import format_ms

NOT_PUT_BACK = (
    "not put back: what the step itself consumes or changes beside model, optimiser and random states (batches of a "
    "loader, a scheduler, a gradient scaler)"
)
_COPIES = "gpu_mem"
_UNSTEADY_PPM = 100_000
_LONGER = 1.5


def notices(recording: Recording, labels: Mapping[int, Label], saved: int, needed: Iterable[int]) -> list[str]:
    """One sentence for each thing noticed in the step with hooks that keep everything."""
    begin_ns, end_ns = recording.window(STEP)
    inside = [n for n, one in enumerate(recording.ranges) if begin_ns <= one.begin_ns < end_ns]
    names = {label.node for label in labels.values()} | {recording.ranges[n].name.removeprefix(NODE) for n in inside}
    found = []
    if not saved:
        found.append("the hooks saw nothing saved: a forward in another thread, or under hooks of its own, is not seen")
    if any("CompiledFunction" in name for name in names):
        found.append(
            "torch.compile: its saved tensors are seen as those of CompiledFunctionBackward, without modules and "
            "operators, and its backward asks for all of a graph at once; a plan that prefetches less comes late"
        )
    elif saved and not (
        recording.runs_compiled or any(recording.ranges[n].name.startswith(MODULE) for n in inside)
    ):  # in compiled code no module marks its forward
        found.append(
            "model: none of its modules ran in the step; is it the one that the step trains? What the step changes of "
            "another is not put back"
        )
    again = sum(recording.ranges[n].name.startswith(MODULE) and _in_backward(recording, n) for n in inside)
    if again or any(name.startswith("CheckpointFunction") for name in names):
        found.append(
            f"checkpoint: {again} modules run again in backward; what they save then is not seen and stays, of what a "
            "checkpoint keeps only its inputs may leave"
        )
    never = saved - len(set(needed))
    if saved and never:
        found.append(f"{never} saved tensors are never asked for: they stay")
    waits = host_waits(recording.waits, (begin_ns, end_ns))
    if waits:
        found.append(
            f"the host waits for the GPU within the step ({len(waits)} x {waits[0].name}): it cannot run ahead"
        )
    return found


def unsteady(times: Sample) -> list[str]:
    """A sentence where steps took so unlike times that a prediction made of them means little; `times` are of whole
    steps."""
    if times.spread_ppm <= _UNSTEADY_PPM:
        return []
    return [
        f"unsteady: the middle half of the steps lies within {times.spread_ppm / 10_000:.0f} % of their median; peaks "
        "do not care, but times are worth that much: capture again while nothing else runs"
    ]


def beside_others(times: Sample, parts_ns: int) -> list[str]:
    """A sentence where whole steps took far longer than their parts, each by itself: then others had the processor in
    between. `parts_ns` are kernels and gaps of a step that the host runs."""
    if times.median_ns <= _LONGER * parts_ns:
        return []
    return [
        f"disturbed: of {format_ms(times.median_ns)} a step its kernels and what is between them take "
        f"{format_ms(parts_ns)}, by which all is predicted: others had the processor in between; capture again while "
        "nothing else runs"
    ]


def _in_backward(recording: Recording, number: int) -> bool:
    return any(recording.ranges[n].name.startswith(NODE) for n in recording.chain(number))


def host_waits(waits: Sequence[HostWaits], window: tuple[int, int]) -> list[HostWaits]:
    """The waits within a step; the one that ends it is ours."""
    return [one for one in waits if window[0] <= one.begin_ns < window[1]][:-1]


def check_one_stream(recording: Recording) -> None:
    """Raise `InvalidInput` where kernels run on several streams: no order of launches is the order of work then."""
    begin_ns, end_ns = recording.window(STEP)
    streams: dict[int, str] = {}
    for one in recording.gpu_work:
        if begin_ns <= one.launch_begin_ns < end_ns and not one.category.startswith(_COPIES):
            streams.setdefault(one.stream, one.name)
    if len(streams) > 1:
        said = ", ".join(f"{name[:60]} on stream {stream}" for stream, name in sorted(streams.items()))
        raise InvalidInput(f"the step: found kernels on {len(streams)} streams ({said}), expected one compute stream")

"""What the hooks do is what the simulated program of the same plan has, call by call and command by command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytorch.probing import may_leave, plan_for, probe
from pytorch.tricky_models import MODELS, made
from support.examples import tries
from vdnnsim.captured import CapturedStep, PlanFile, build_step
from vdnnsim.program import CopyIn, CopyOut, HostCall, Stream, StreamWait
from vdnnsim.pytorch.engine import CpuEngine
from vdnnsim.pytorch.offloading import running_by

Done = tuple[str, int]


class Recorder(CpuEngine):
    """Notes what is done in which hook call."""

    def __init__(self, plan: PlanFile) -> None:
        super().__init__(torch.device("cpu"), {block.block: block.size_bytes for block in plan.leaving})
        self.calls: list[list[Done]] = []

    def copy_out(self, block: int, address: int, stream: int) -> None:
        self.calls[-1].append(("out", block))
        super().copy_out(block, address, stream)

    def let_go(self, block: int, stream: int) -> None:
        self.calls[-1].append(("let go", block))
        super().let_go(block, stream)

    def copy_in(self, block: int, address: int, stream: int) -> None:
        self.calls[-1].append(("in", block))
        super().copy_in(block, address, stream)

    def let_use(self, block: int, stream: int) -> None:
        self.calls[-1].append(("let use", block))
        super().let_use(block, stream)


def programmed(step: CapturedStep, plan: PlanFile) -> Iterator[list[Done]]:
    """What the program does at each hook call."""
    copies: dict[Stream, list[int]] = {Stream.COPY_OUT: [], Stream.COPY_IN: []}
    here: list[Done] | None = None
    for command in build_step(step, plan.schedule(step)).commands:
        match command:
            case HostCall("hook"):
                if here is not None:
                    yield here
                here = []
            case CopyOut(buffer) | CopyIn(buffer):
                stream = Stream.COPY_OUT if isinstance(command, CopyOut) else Stream.COPY_IN
                block = int(buffer.name.split()[0].removeprefix("b"))
                copies[stream].append(block)
                assert here is not None
                here.append(("out" if stream is Stream.COPY_OUT else "in", block))
            case StreamWait(Stream.COMPUTE, piece):
                assert here is not None
                what = "let go" if piece.stream is Stream.COPY_OUT else "let use"
                here.append((what, copies[piece.stream][piece.number - 1]))
    assert here is not None
    yield here


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data())
@settings(max_examples=tries(8))
def test_hooks_obey_plans_to_the_command(name: str, data: st.DataObject) -> None:
    model, step = made(name)
    probed = probe(model, step)
    leaving = data.draw(st.lists(st.sampled_from(may_leave(probed)), unique=True, min_size=1))
    ahead, in_flight_bytes = data.draw(st.integers(0, 4)), data.draw(st.sampled_from([None, 0, 2000]))
    plan = plan_for(probed, leaving, ahead, in_flight_bytes)
    recorder = Recorder(plan)
    running = running_by(plan, recorder)

    def pack(tensor: torch.Tensor) -> object:
        recorder.calls.append([])
        return running.pack(tensor)

    def unpack(kept: object) -> torch.Tensor:
        recorder.calls.append([])
        return running.unpack(kept)  # type: ignore[arg-type]

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        step()
    assert recorder.calls == list(programmed(probed, plan))

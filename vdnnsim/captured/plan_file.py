"""A plan for a captured step as a file: which tensors leave, when, and what was predicted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from vdnnsim.captured.agenda import HookDeeds, agenda_of, block_name
from vdnnsim.captured.checks import leaves_of
from vdnnsim.captured.plan_matching import Held, SavedView, held_of, other_held, other_saved, views_of
from vdnnsim.captured.plan_order import misplaced
from vdnnsim.captured.step import CapturedStep, Doing
from vdnnsim.errors import Fault, InvalidFile, InvalidInput
from vdnnsim.files import read_text, write_text
from vdnnsim.iteration import CopyStreams, Leave, Schedule

if TYPE_CHECKING:
    from vdnnsim.captured.plan_schema import PlanDocument


def why_not_trained(schedule: Schedule) -> str:
    """What of a schedule training cannot carry out, and what it can; "" where it can all."""
    beyond = {
        "tensors that are made again, which in training torch.utils.checkpoint does": schedule.makes_again,
        "copies that are compressed, by an engine that no GPU has": schedule.compression is not None,
        "copies by page faults, which CUDA's unified memory makes without a plan": schedule.paging is not None,
        "saved tensors copied each by itself": bool(schedule.own_copies),
        "copies that go on to NVMe": bool(schedule.nvme),
        "copies that share a stream": schedule.copies is not CopyStreams.EACH_WAY,
        "an optimiser on the host": schedule.host_optimiser is not None,
    }
    expected = "blocks that leave for the host's memory, plain copies each way on a stream of its own"
    return next((f"found {found}; expected {expected}" for found, is_so in beyond.items() if is_so), "")


class LeavingBlock(NamedTuple):
    """A block that leaves: by its number, with the saved tensors in it, how often a step needs any of these, and its
    stages (`iteration.Leave`)."""

    block: int
    saved: tuple[SavedView, ...]
    needs: int
    size_bytes: int
    out: int
    freed: int
    back: int
    needed: int


@dataclass(frozen=True)
class PlanFile:
    """A plan as training takes it. The digests and `torch` are those of the step that it is of. `hook_runs` are that
    step's hook calls: so many saves, then so many needs, and so on by turns. `step_ns` and `peak_bytes` were predicted.
    `held_bytes` are the sizes of its parameters and buffers in order; files that were written earlier lack them."""

    policy: str
    step: str
    torch: str
    model_sha256: str
    order_sha256: str
    hook_runs: tuple[int, ...]
    leaving: tuple[LeavingBlock, ...]
    step_ns: int
    peak_bytes: int
    held_bytes: tuple[int, ...] = ()

    @classmethod
    def of(cls, step: CapturedStep, policy: str, schedule: Schedule, step_ns: int, peak_bytes: int) -> PlanFile:
        """The file of a schedule. Raises `BrokenSchedule`, `InvalidInput` for one that training cannot carry out."""
        if found := why_not_trained(schedule):
            raise InvalidInput(f"plan of {policy}: {found}")
        views: dict[int, list[SavedView]] = {}
        for view in views_of(step):
            views.setdefault(step.saved[view.number].block, []).append(view)
        leaving = tuple(
            LeavingBlock(
                number,
                tuple(views[number]),
                len(step.stages.needs[number]),
                step.blocks[number].size_bytes,
                leave.freed if leave.out is None else leave.out,
                leave.freed,
                leave.back,
                leave.needed,
            )
            for number, leave in leaves_of(step, schedule).items()
        )
        header = step.header
        digests = (header.torch, header.model_sha256, header.order_sha256)
        held_bytes = tuple(one.size_bytes for one in held_of(step))
        return cls(policy, header.name, *digests, _runs(step), leaving, step_ns, peak_bytes, held_bytes)

    @property
    def pinned_bytes(self) -> int:
        """Host memory that the copies need: room for each block that leaves, taken once."""
        return sum(block.size_bytes for block in self.leaving)

    @property
    def leaves(self) -> dict[int, Leave]:
        """The blocks that leave by their numbers."""
        return {block.block: Leave(*block[-4:]) for block in self.leaving}

    @property
    def agenda(self) -> dict[int, HookDeeds]:
        """By stage what is done at its hook call."""
        return agenda_of(self.leaves)

    def check(self, step: CapturedStep) -> None:
        """Raise `InvalidInput`, with the first difference, where this is a plan of another step."""
        header = step.header
        self.check_model(header.torch, header.model_sha256, held_of(step))
        if header.order_sha256 != self.order_sha256:
            expected = (view for block in self.leaving for view in block.saved)
            others = _digests("others", header.order_sha256, self.order_sha256)
            self._refuse("saved tensors", other_saved(views_of(step), expected) or others)

    def check_model(self, torch: str, model_sha256: str, held: Sequence[Held]) -> None:
        """As `check`, for a model alone: by its digest, and what it holds."""
        if torch != self.torch:
            self._refuse("PyTorch", f"found {torch}, expected {self.torch}")
        if model_sha256 != self.model_sha256:
            other = "parameters and buffers of other names, shapes or types"
            self._refuse("model", other_held(held, self.held_bytes) or _digests(other, model_sha256, self.model_sha256))

    def _refuse(self, what: str, difference: str) -> NoReturn:
        raise InvalidInput(f"plan of {self.step}, {what}: {difference}; capture a step of this one, and plan again")

    def schedule(self, step: CapturedStep) -> Schedule:
        """The schedule, for the step that it is of. Raises `InvalidInput` (and its kinds)."""
        from vdnnsim.captured.schedules import schedule_of

        self.check(step)
        return schedule_of(step, {block_name(number): leave for number, leave in self.leaves.items()})

    def save(self, path: str | Path) -> None:
        """Write it, whole or not at all. Raises `CannotWrite`."""
        document = {"schema": 1, **asdict(self), "leaving": [], "pinned_bytes": self.pinned_bytes}
        rows = ",\n  ".join(map(_row, self.leaving))
        text = json.dumps(document, indent=1) + "\n"
        write_text(Path(path), text.replace('"leaving": []', f'"leaving": [\n  {rows}\n ]') if rows else text)

    @classmethod
    def load(cls, path: str | Path) -> PlanFile:
        """Read it. Raises `InvalidFile`."""
        from vdnnsim.captured.plan_schema import parse_plan

        document: PlanDocument = parse_plan(read_text(Path(path)), str(path))
        leaving = tuple(
            LeavingBlock(**{**dict(block), "saved": tuple(SavedView(**dict(one)) for one in block.saved)})
            for block in document.leaving
        )
        if faults := list(misplaced(leaving, document.hook_runs)):
            raise InvalidFile([Fault(str(path), None, one.place, str(one.found), one.expected) for one in faults])
        fields = document.model_dump(exclude={"schema_version", "pinned_bytes", "leaving"})
        return cls(**fields, leaving=leaving)


def _runs(step: CapturedStep) -> tuple[int, ...]:
    """How many saves, then needs, and so on by turns a step has; of saves none, where it begins with a need."""
    runs = [(doing, len(list(calls))) for doing, calls in groupby(step.deeds[call].doing for call in step.hook_calls)]
    begins_with_need = bool(runs) and runs[0][0] is Doing.NEED
    return (*[0] * begins_with_need, *(length for _, length in runs))


def _digests(other: str, found: str, expected: str) -> str:
    return f"found {other} (digest {found[:8]}), expected its own ({expected[:8]})"


def _row(block: LeavingBlock) -> str:
    return json.dumps({**block._asdict(), "saved": [one._asdict() for one in block.saved]})

"""A plan for a captured step as a file: which tensors leave, when, and what was predicted."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vdnnsim.captured.agenda import HookDeeds, agenda_of, block_name
from vdnnsim.captured.checks import leaves_of
from vdnnsim.captured.step import CapturedStep
from vdnnsim.errors import InvalidInput
from vdnnsim.files import read_text, write_text
from vdnnsim.iteration import Leave, Schedule

if TYPE_CHECKING:
    from vdnnsim.captured.plan_schema import PlanDocument


class LeavingBlock(NamedTuple):
    """A block that leaves: by its number, with the saved tensors that lie in it, and its stages (`iteration.Leave`)."""

    block: int
    saved: tuple[int, ...]
    size_bytes: int
    out: int
    freed: int
    back: int
    needed: int


@dataclass(frozen=True)
class PlanFile:
    """A plan as training takes it. The digests and `torch` are those of the step that it is of, `hook_calls` how many
    that step has; `step_ns` and `peak_bytes` were predicted."""

    policy: str
    step: str
    torch: str
    model_sha256: str
    order_sha256: str
    hook_calls: int
    leaving: tuple[LeavingBlock, ...]
    step_ns: int
    peak_bytes: int

    @classmethod
    def of(cls, step: CapturedStep, policy: str, schedule: Schedule, step_ns: int, peak_bytes: int) -> PlanFile:
        """The file of a schedule. Raises `BrokenSchedule`."""
        views: dict[int, list[int]] = {}
        for number, saved in enumerate(step.saved):
            views.setdefault(saved.block, []).append(number)
        leaving = tuple(
            LeavingBlock(
                number,
                tuple(views[number]),
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
        return cls(policy, header.name, *digests, len(step.hook_calls), leaving, step_ns, peak_bytes)

    @property
    def pinned_bytes(self) -> int:
        """Host memory that the copies need: room for each block that leaves, taken once."""
        return sum(block.size_bytes for block in self.leaving)

    @property
    def leaves(self) -> dict[int, Leave]:
        """The blocks that leave by their numbers."""
        return {block.block: Leave(*block[3:]) for block in self.leaving}

    @property
    def agenda(self) -> dict[int, HookDeeds]:
        """By stage what is done at its hook call."""
        return agenda_of(self.leaves)

    def check(self, step: CapturedStep) -> None:
        """Raise `InvalidInput`, with the first difference, where this is a plan of another step."""
        header = step.header
        self.check_digests(header.torch, header.model_sha256, header.order_sha256)

    def check_digests(self, torch: str, model_sha256: str, order_sha256: str) -> None:
        """As `check`, for a model and the order of its saved tensors by their digests."""
        advice = "capture a step of this one, and plan again"
        for what, found, expected in (
            ("model", model_sha256, self.model_sha256),
            ("PyTorch", torch, self.torch),
            ("saved tensors", order_sha256, self.order_sha256),
        ):
            if found != expected:
                raise InvalidInput(f"plan of {self.step}, {what}: found {found}, expected {expected}; {advice}")

    def schedule(self, step: CapturedStep) -> Schedule:
        """The schedule, for the step that it is of. Raises `InvalidInput` (and its kinds)."""
        from vdnnsim.captured.schedules import schedule_of

        self.check(step)
        return schedule_of(step, {block_name(number): leave for number, leave in self.leaves.items()})

    def save(self, path: str | Path) -> None:
        """Write it, whole or not at all. Raises `CannotWrite`."""
        document = {"schema": 1, **asdict(self), "pinned_bytes": self.pinned_bytes, "leaving": []}
        rows = ",\n  ".join(json.dumps(block._asdict()) for block in self.leaving)
        text = json.dumps(document, indent=1) + "\n"
        write_text(Path(path), text.replace("[]", f"[\n  {rows}\n ]") if rows else text)

    @classmethod
    def load(cls, path: str | Path) -> PlanFile:
        """Read it. Raises `InvalidFile`."""
        from vdnnsim.captured.plan_schema import parse_plan

        document: PlanDocument = parse_plan(read_text(Path(path)), str(path))
        leaving = tuple(LeavingBlock(**block.model_dump()) for block in document.leaving)
        fields = document.model_dump(exclude={"schema_version", "pinned_bytes", "leaving"})
        return cls(**fields, leaving=leaving)

"""What checkpointing blocks of a model would do, predicted from a step without, beside what it does."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from support.torch_models import Made, training
from vdnnsim.captured import CapturedStep, build_step, hook_schedule, remake_modules, schedule_of
from vdnnsim.captured.checking import check_step_program
from vdnnsim.captured.memory import addresses_of, pool_of, successors_of
from vdnnsim.iteration import Schedule
from vdnnsim.machines import DeviceMemory
from vdnnsim.machines.steady import steady_memory
from vdnnsim.memory import ENDLESS_BYTES, make_pool
from vdnnsim.pytorch import capture

BLOCKS = 4


class _Block(nn.Module):
    """With a residual input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(64), nn.Linear(64, 256), nn.Linear(256, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(functional.gelu(self.up(self.norm(x))))  # type: ignore[no-any-return]


class _Blocks(nn.Module):
    def __init__(self, checkpointed: bool) -> None:
        super().__init__()
        self.checkpointed = checkpointed
        self.blocks = nn.ModuleList(_Block() for _ in range(BLOCKS))
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Autocast makes copies of weights, which a checkpointed block does not keep either."""
        with torch.autocast("cpu", torch.bfloat16):
            for block in self.blocks:
                x = (
                    checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
                    if self.checkpointed
                    else block(x)
                )
            return self.head(x)  # type: ignore[no-any-return]


def made(checkpointed: bool) -> Made:
    torch.manual_seed(0)
    return training(_Blocks(checkpointed), torch.randn(512, 64), torch.randint(0, 10, (512,)))


def peak_bytes(step: CapturedStep, schedule: Schedule) -> int:
    program = build_step(step, schedule)
    check_step_program(step, program, DeviceMemory(make_pool("best-fit", ENDLESS_BYTES)))
    memory = DeviceMemory(pool_of(step, ENDLESS_BYTES), addresses_of(step))
    return steady_memory(program, memory, successors_of(step)).last.requested_bytes


def test_the_peak_of_checkpointed_blocks_is_predicted_to_the_byte() -> None:
    """Less the random state that it keeps for each block, if it is told to; its blocks' inputs stay."""
    step, checkpointed = capture(*made(checkpointed=False)), capture(*made(checkpointed=True))
    blocks = [f"blocks.{number}" for number in range(BLOCKS)]
    assert peak_bytes(step, hook_schedule(step)) == step.seen.peak_requested_bytes
    predicted = peak_bytes(step, schedule_of(step, remake_modules(step, blocks)))
    assert predicted == checkpointed.seen.peak_requested_bytes < step.seen.peak_requested_bytes

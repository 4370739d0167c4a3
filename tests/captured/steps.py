"""Small captured steps, written out: every number of theirs is known."""

from __future__ import annotations

from vdnnsim.captured import (
    BEFORE_STEP,
    AllocatorSegment,
    Block,
    BlockClass,
    CapturedStep,
    Deed,
    Doing,
    HookCosts,
    ModelKernel,
    ModelOperator,
    Phase,
    SavedTensor,
    Seen,
    StepHeader,
)

TAKE, LAUNCH, SAVE, NEED = Doing
MIB = 2**20
HEADER = StepHeader(
    "three", "test-gpu", "cuda", {"batch": 4}, "2.11.0", "a" * 64, "b" * 64, {"date": "2026-11-28", "driver": "580"}
)
HOOKS = HookCosts(call_ns=500, copy_out_ns=20_000, copy_in_ns=40_000, stream_wait_ns=1_000)


def saved(block: int, module: str, size_bytes: int, stays: str = "", offset_bytes: int = 0) -> SavedTensor:
    """A flat tensor of floats."""
    shape = (size_bytes // 4,)
    return SavedTensor(block, "AddmmBackward0", "mat1", module, "float32", shape, (1,), offset_bytes, stays)


def kernel(operator: int, duration_ns: int = 100_000) -> ModelKernel:
    return ModelKernel(f"kernel{operator}", "gemm", operator, duration_ns, 10_000, 10_000, 1_000)


def three_layers() -> CapturedStep:
    """Three layers of a chain, x -> y1 -> y2 -> y3 -> loss, and an optimiser that works in place.

    Each layer saves its input, of 4, 8, 16 MiB, and its weight, which stays; the loss saves y3. Forward launches the
    kernels 0 to 3, backward 4 to 7, the optimiser 8. y3 is held by the loss's own code until the end of forward.
    Gradients of maps come and go in backward; those of weights are there before the step and stay.
    """
    operators = (
        *(ModelOperator("aten::addmm", f"layers.{n}", Phase.FORWARD) for n in range(3)),
        ModelOperator("aten::nll_loss", "", Phase.FORWARD),
        ModelOperator("NllLossBackward0", "", Phase.BACKWARD),
        *(ModelOperator("AddmmBackward0", f"layers.{n}", Phase.BACKWARD) for n in (2, 1, 0)),
        ModelOperator("Optimizer.step", "", Phase.OPTIMISER),
    )
    kept = [Block(MIB, BlockClass.PARAMETER, BEFORE_STEP, None, None, address=n * 2 * MIB) for n in range(3)]
    kept += [Block(MIB, BlockClass.GRADIENT, BEFORE_STEP, None, None, address=(3 + n) * 2 * MIB) for n in range(3)]
    blocks = (
        *kept,  # 0, 1, 2: weights; 3, 4, 5: their gradients
        Block(4 * MIB, BlockClass.INPUT, BEFORE_STEP, None, None, address=12 * MIB),  # 6: x
        Block(8 * MIB, BlockClass.SAVED, 0, 27, 26, 7, 26, 0),  # 7: y1
        Block(16 * MIB, BlockClass.SAVED, 4, 25, 22, 11, 22, 1),  # 8: y2
        Block(32 * MIB, BlockClass.SAVED, 8, 20, 18, 15, 18, 2),  # 9: y3
        Block(512, BlockClass.OTHER, 12, None, None, operator=3),  # 10: the loss
        Block(MIB, BlockClass.WORKSPACE, 13, 14, 14, operator=3),  # 11
        Block(32 * MIB, BlockClass.OTHER, 17, 22, 22, operator=4),  # 12: the gradient of y3
        Block(16 * MIB, BlockClass.OTHER, 21, 26, 26, operator=5),  # 13: of y2
        Block(8 * MIB, BlockClass.OTHER, 25, 29, 29, operator=6),  # 14: of y1
    )
    tensors = (
        saved(6, "layers.0", 4 * MIB, "input"),
        saved(0, "layers.0", MIB, "parameter"),
        saved(7, "layers.1", 8 * MIB),
        saved(1, "layers.1", MIB, "parameter"),
        saved(8, "layers.2", 16 * MIB),
        saved(2, "layers.2", MIB, "parameter"),
        saved(9, "", 32 * MIB),
    )
    deeds = (
        *((TAKE, 7), (LAUNCH, 0), (SAVE, 0), (SAVE, 1)),  # deeds 0 to 3; the SAVEs begin the stages 1 and 2
        *((TAKE, 8), (LAUNCH, 1), (SAVE, 2), (SAVE, 3)),  # 4 to 7, stages 3 and 4
        *((TAKE, 9), (LAUNCH, 2), (SAVE, 4), (SAVE, 5)),  # 8 to 11, stages 5 and 6
        *((TAKE, 10), (TAKE, 11), (LAUNCH, 3), (SAVE, 6)),  # 12 to 15, stage 7
        *((NEED, 6), (TAKE, 12), (LAUNCH, 4)),  # 16 to 18, stage 8
        *((NEED, 5), (NEED, 4), (TAKE, 13), (LAUNCH, 5)),  # 19 to 22, stages 9 and 10
        *((NEED, 3), (NEED, 2), (TAKE, 14), (LAUNCH, 6)),  # 23 to 26, stages 11 and 12
        *((NEED, 1), (NEED, 0), (LAUNCH, 7), (LAUNCH, 8)),  # 27 to 30, stages 13 and 14
    )
    segments = [AllocatorSegment(n * 2 * MIB, 2 * MIB, True) for n in range(6)]
    return CapturedStep(
        HEADER,
        Seen(1_000_000, 5_000, 102_760_960, 102_760_960, 104_857_600),
        HOOKS,
        operators,
        tuple(kernel(number) for number in range(9)),
        blocks,
        tensors,
        tuple(Deed(*deed) for deed in deeds),
        (*segments, AllocatorSegment(12 * MIB, 20 * MIB, False)),
    )


def one_block_thrice() -> CapturedStep:
    """A block of 8 MiB, made by layer a, of which layer b saves the first half, the loss all and the second half.

    Backward needs all, then the first half, and that once more; the last half never. Others hold the block until the
    end of forward, the deed 6. Forward launches the kernels 0 to 2, backward 3 to 5.
    """
    modules = ("a", "b", "", "", "b", "b")
    phases = (*(Phase.FORWARD,) * 3, *(Phase.BACKWARD,) * 3)
    operators = tuple(ModelOperator("aten::mul", module, phase) for module, phase in zip(modules, phases, strict=True))
    block = Block(8 * MIB, BlockClass.SAVED, 0, given=12, given_hooked=11, released=6, fetched_given=11, operator=0)
    tensors = (saved(0, "b", 4 * MIB), saved(0, "", 8 * MIB), saved(0, "", 4 * MIB, offset_bytes=4 * MIB))
    deeds = (
        *((TAKE, 0), (LAUNCH, 0), (SAVE, 0), (LAUNCH, 1)),  # deeds 0 to 3, stage 1
        *((SAVE, 1), (SAVE, 2), (LAUNCH, 2)),  # 4 to 6, stages 2 and 3
        *((NEED, 1), (LAUNCH, 3), (NEED, 0), (LAUNCH, 4)),  # 7 to 10, stages 4 and 5
        *((NEED, 0), (LAUNCH, 5)),  # 11, 12, stage 6
    )
    kernels = tuple(kernel(number) for number in range(6))
    seen = Seen(600_000, 5_000, 8 * MIB, 8 * MIB, 20 * MIB)
    return CapturedStep(
        HEADER, seen, HOOKS, operators, kernels, (block,), tensors, tuple(Deed(*deed) for deed in deeds)
    )


def module_with_workspace() -> CapturedStep:
    """A module of two layers: a.norm makes b1 of 8 MiB from the input b0 of 4 MiB, with b2 of 1 MiB as workspace of the
    first of its two kernels; a.fc saves b1 and makes b3 of 16 MiB, which a.act saves. Kernels 4, 5 are backward.
    """
    operators = (
        ModelOperator("aten::norm", "a.norm", Phase.FORWARD),
        ModelOperator("aten::addmm", "a.fc", Phase.FORWARD),
        ModelOperator("aten::loss", "", Phase.FORWARD),
        ModelOperator("LossBackward0", "", Phase.BACKWARD),
        ModelOperator("AddmmBackward0", "a.fc", Phase.BACKWARD),
    )
    blocks = (
        Block(4 * MIB, BlockClass.INPUT, BEFORE_STEP, None, None),
        Block(8 * MIB, BlockClass.SAVED, 0, 12, 12, released=6, fetched_given=12, operator=0),
        Block(MIB, BlockClass.WORKSPACE, 1, 2, 2, operator=0),
        Block(16 * MIB, BlockClass.SAVED, 5, 10, 10, released=8, fetched_given=10, operator=1),
    )
    deeds = (
        *((TAKE, 1), (TAKE, 2), (LAUNCH, 0), (LAUNCH, 1)),  # deeds 0 to 3
        *((SAVE, 0), (TAKE, 3), (LAUNCH, 2), (SAVE, 1), (LAUNCH, 3)),  # 4 to 8, stages 1 and 2
        *((NEED, 1), (LAUNCH, 4), (NEED, 0), (LAUNCH, 5)),  # 9 to 12, stages 3 and 4
    )
    kernels = tuple(kernel(operator)._replace(name=f"kernel{n}") for n, operator in enumerate((0, 0, 1, 2, 3, 4)))
    tensors = (saved(1, "a.fc", 8 * MIB), saved(3, "a.act", 16 * MIB))
    seen = Seen(600_000, 5_000, 28 * MIB, 28 * MIB, 40 * MIB)
    return CapturedStep(HEADER, seen, HOOKS, operators, kernels, blocks, tensors, tuple(Deed(*deed) for deed in deeds))

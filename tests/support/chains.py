"""Long chains of layers as operators and tensors, with no network behind them."""

from __future__ import annotations

from vdnnsim.iteration import Buffer, Iteration, MemoryClass, Operator, Stage, Tensor, Waits, WeightGradients
from vdnnsim.policies import Plan
from vdnnsim.policies.schedules import layer_wise
from vdnnsim.trace import DEFAULT_ALGORITHM, Trace, TraceHeader, TraceRow

MAP_BYTES = 512


def chain_of(layers: int) -> Iteration:
    """So many layers, each with one operator in forward and one in backward: it reads the map before it and writes its
    own; in backward it reads that map and its own gradient, and writes the map's gradient. Every fifth is a fence."""
    maps = ["map:input", *(f"map:{number}" for number in range(layers))]
    gradients = ["", *(f"gradient:{number}" for number in range(layers))]
    stages = [
        Stage(f"{number}", False, False, "CONV" if number % 5 == 0 else "ACTV", (maps[number],), number)
        for number in range(layers)
    ]
    operators = [
        Operator(stage.layer, "forward", number, stage.inputs, (maps[number + 1],))
        for number, stage in enumerate(stages)
    ]
    for number, stage in enumerate(reversed(stages[:layers]), layers):
        stages.append(stage._replace(backward=True))
        below, own = gradients[stage.forward], gradients[stage.forward + 1]
        last = stage.forward == layers - 1
        reads = stage.inputs if last else (own, *stage.inputs)
        operators.append(Operator(stage.layer, "backward", number, reads, (below,) if below else ()))
    touched = {name for operator in operators for name in (*operator.reads, *operator.writes)}
    tensors = {
        name: Tensor(Buffer(name, MAP_BYTES, memory_class, name.partition(":")[2], False))
        for names, memory_class in ((maps, MemoryClass.FEATURE_MAPS), (gradients, MemoryClass.GRADIENT_MAPS))
        for name in names
        if name in touched
    }
    return Iteration(tuple(stages), tuple(operators), tensors, frozenset({"map:input"}))


def plan_of_chain(iteration: Iteration, leaving: int, waits: Waits = Waits.EACH_LAYER) -> Plan:
    """The paper's schedule, with so many maps leaving, spread over the chain."""
    layers = [stage.layer for stage in iteration.stages if not stage.backward]
    offload = frozenset(layers[number * len(layers) // leaving] for number in range(leaving))
    schedule = layer_wise(iteration, offload, WeightGradients.PER_LAYER, waits)
    return Plan(schedule, dict.fromkeys(iteration.by_key, DEFAULT_ALGORITHM), dict.fromkeys(iteration.by_key, 0))


def trace_of_chain(iteration: Iteration) -> Trace:
    """Every kernel takes a microsecond."""
    rows = [TraceRow(*operator.key, DEFAULT_ALGORITHM, 1000, 0, source="test") for operator in iteration.operators]
    return Trace(TraceHeader("test-gpu", "chain", 1, "fp32", sources={"test": "made up"}), rows)

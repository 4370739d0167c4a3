"""vDNN-dyn: try configurations from the fastest to the leanest, take the first that fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vdnnsim.iteration import Layout
from vdnnsim.network import Kind
from vdnnsim.policies.plan import (
    Plan,
    Problem,
    Trial,
    feature_extraction_layers,
    make_plan,
    memory_optimal,
    performance_optimal,
)


@dataclass(frozen=True)
class VdnnDyn:
    """The paper's dynamic policy, in its trial order.

    1. vDNN-all with memory-optimal algorithms: where this fails, nothing trains; 2. no offload, fastest algorithms; 3.
    vDNN-conv, fastest; 4. vDNN-all, fastest: the first of these that fits is taken. 5. vDNN-conv and 6. vDNN-all,
    greedily: each pass starts at its fastest algorithm, and where its workspace finds no room moves to the
    next slower one with less, down to implicit GEMM. 7. the configuration of 1.

    The paper does not say how memory is handed out where nothing is offloaded: layer by layer as in the other trials,
    or network-wide as in the baseline. `no_offload` is that layout.
    """

    name: str = "vdnn-dyn"
    no_offload: Layout = Layout.LAYER_WISE

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        trials: list[Trial] = []
        laboratory = problem.laboratory
        leanest_title, leanest_plan = self._leanest(problem)
        leanest = laboratory.attempt(leanest_title, leanest_plan)
        trials.append(leanest)
        chosen = leanest
        if leanest.fits:
            for title, plan in self._faster(problem):
                trial = laboratory.attempt(title, plan)
                trials.append(trial)
                if trial.fits:
                    chosen = trial
                    break
        return replace(chosen.plan, trials=tuple(trials))

    def _leanest(self, problem: Problem) -> tuple[str, Plan]:
        everything = feature_extraction_layers(problem.network)
        algorithms = memory_optimal(problem.network, problem.trace)
        return "vdnn-all, memory-optimal", make_plan(problem, Layout.LAYER_WISE, everything, algorithms)

    def _faster(self, problem: Problem) -> Iterator[tuple[str, Plan]]:
        network = problem.network
        fastest = performance_optimal(network, problem.trace)
        convs = feature_extraction_layers(network, (Kind.CONV,))
        everything = feature_extraction_layers(network)
        yield "no offload, fastest", make_plan(problem, self.no_offload, (), fastest)
        for title, offload in (("vdnn-conv", convs), ("vdnn-all", everything)):
            yield f"{title}, fastest", make_plan(problem, Layout.LAYER_WISE, offload, fastest)
        for title, offload in (("vdnn-conv", convs), ("vdnn-all", everything)):
            plan = make_plan(problem, Layout.LAYER_WISE, offload, fastest)
            yield f"{title}, greedy", problem.laboratory.shrink_workspaces(plan)

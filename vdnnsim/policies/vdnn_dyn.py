"""vDNN-dyn: try configurations from the fastest to the leanest, take the first that fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vdnnsim.iteration import Layout
from vdnnsim.policies.plan import Plan, Problem, Trial, make_plan
from vdnnsim.policies.workload import LONG_KERNELS


@dataclass(frozen=True)
class VdnnDyn:
    """The paper's dynamic policy, in its trial order.

    1. vDNN-all with memory-optimal algorithms: where this fails, nothing trains; 2. no offload, fastest algorithms; 3.
    vDNN-conv, fastest; 4. vDNN-all, fastest: the first of these that fits is taken. 5. vDNN-conv and 6. vDNN-all,
    greedily: each pass starts at its fastest algorithm, and where its workspace finds no room moves to the
    next slower one with less, down to implicit GEMM. 7. the configuration of 1.

    Where 1 fails only because the host cannot pin so much, the others are tried: no offload pins nothing.

    Of a captured step, whose kernels have one algorithm each, 2, 3 and 4 are left.

    The paper does not say how memory is handed out where nothing is offloaded: layer by layer as in the other trials,
    or network-wide as in the baseline. `no_offload` is that layout.
    """

    name: str = "vdnn-dyn"
    no_offload: Layout = Layout.LAYER_WISE

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        trials: list[Trial] = []
        if not problem.workload.one_way:
            trials.append(problem.laboratory.attempt(*self._leanest(problem)))
            if not trials[0].fits and trials[0].on_device:
                return replace(trials[0].plan, trials=tuple(trials))
        for title, plan in self._faster(problem):
            trials.append(problem.laboratory.attempt(title, plan))
            if trials[-1].fits:
                break
        fitting = [trial for trial in trials if trial.fits]
        return replace((fitting or trials)[-1].plan, trials=tuple(trials))

    def _leanest(self, problem: Problem) -> tuple[str, Plan]:
        everything = problem.workload.movable()
        return "vdnn-all, memory-optimal", make_plan(problem, Layout.LAYER_WISE, everything, problem.memory_optimal)

    def _faster(self, problem: Problem) -> Iterator[tuple[str, Plan]]:
        workload, fastest = problem.workload, problem.performance_optimal
        offloads = (("vdnn-conv", workload.movable(LONG_KERNELS)), ("vdnn-all", workload.movable()))
        how = "" if workload.one_way else ", fastest"
        yield f"no offload{how}", make_plan(problem, self.no_offload, (), fastest)
        for title, offload in offloads:
            yield f"{title}{how}", make_plan(problem, Layout.LAYER_WISE, offload, fastest)
        for title, offload in () if workload.one_way else offloads:
            plan = make_plan(problem, Layout.LAYER_WISE, offload, fastest)
            yield f"{title}, greedy", problem.laboratory.shrink_workspaces(plan)

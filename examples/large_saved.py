"""A policy of one's own for captured steps: saved tensors above 16 MiB leave, two are fetched ahead of their need.

vdnnsim compare my_step --gpu h200 --policies vdnn-all,large_saved:LargeSaved
"""

from vdnnsim import Plan, Problem, offload_plan


class LargeSaved:
    name = "large-saved"

    def check(self, problem: Problem) -> None:
        _ = problem.step  # a network has none, and says so

    def plan(self, problem: Problem) -> Plan:
        sizes = problem.iteration.buffers
        large = [name for name in problem.workload.movable() if sizes[name].size_bytes > 16 * 2**20]
        return offload_plan(problem, large, ahead=2)

"""A policy of one's own: vDNN-all whose host never waits for a layer; streams wait for each other by events.

vdnnsim compare vgg16 --batch 64 --gpu h200 --policies vdnn-all\\(p\\),vdnn++,waiting_streams:WaitingStreams
"""

from dataclasses import replace

from vdnnsim import Layout, Plan, Problem, Waits, feature_extraction_layers, make_plan, performance_optimal


class WaitingStreams:
    name = "waiting-streams"

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        network = problem.network
        algorithms = performance_optimal(network, problem.trace)
        plan = make_plan(problem, Layout.LAYER_WISE, feature_extraction_layers(network), algorithms)
        return replace(plan, schedule=replace(plan.schedule, waits=Waits.STREAMS))

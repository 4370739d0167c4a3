"""A policy of one's own: offload only feature maps above 100 MB, each pass at its fastest.

vdnnsim compare vgg16 --batch 128 --gpu titan-x-maxwell --policies vdnn-all\\(p\\),large_maps:LargeMaps
"""

from vdnnsim import Layout, Plan, Problem, feature_extraction_layers, make_plan, performance_optimal


class LargeMaps:
    name = "large-maps"

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        network = problem.network
        managed = feature_extraction_layers(network)
        large = {
            name
            for name in managed
            if any(found.size_bytes > 100_000_000 for found in network.input_maps(network.by_name[name]))
        }
        return make_plan(problem, Layout.LAYER_WISE, large, performance_optimal(network, problem.trace))

"""Moved traces: within the spread of the fits, the same every time, sums kept."""

from vdnnsim.network import Kind, load_network
from vdnnsim.trace import Provenance, Trace, find_trace
from vdnnsim_builder.constants import FITS
from vdnnsim_builder.uncertainty import PUBLISHED, PUBLISHED_SPREAD, perturbed, sample_factors

SAMPLES = 8


def alexnet() -> Trace:
    return find_trace(load_network("alexnet", 128), "titan-x-maxwell", "fp32")


def test_factors_stay_within_their_fits() -> None:
    for factors in sample_factors(SAMPLES, seed=3):
        for name, factor in factors.items():
            low, middle, high = PUBLISHED_SPREAD if name == PUBLISHED else spread(name)
            assert low / middle <= factor <= high / middle, name


def spread(name: str) -> tuple[float, float, float]:
    fit = FITS[name]
    return fit.low, fit.median, fit.high


def test_each_part_of_a_spread_is_used_once() -> None:
    """Published times move from 0.9 to 1.1: one factor in each eighth of that, in geometric steps."""
    factors = sorted(factors[PUBLISHED] for factors in sample_factors(SAMPLES, seed=3))
    edges = [0.9 ** (1 - 2 * place / SAMPLES) for place in range(SAMPLES // 2)]
    edges += [1.1 ** (2 * place / SAMPLES - 1) for place in range(SAMPLES // 2, SAMPLES + 1)]
    for low, factor, high in zip(edges, factors, edges[1:], strict=False):
        assert low <= factor <= high


def test_same_seed_same_trace_other_seed_another() -> None:
    network = load_network("alexnet", 128)
    first, again, other = (perturbed(alexnet(), network, 1, SAMPLES, seed) for seed in (3, 3, 4))
    assert first.rows == again.rows
    assert first.rows != other.rows


def test_published_times_move_together() -> None:
    network = load_network("alexnet", 128)
    factor = sample_factors(SAMPLES, seed=3)[1][PUBLISHED]
    moved = perturbed(alexnet(), network, 2, SAMPLES, seed=3)
    for before, after in zip(alexnet().rows, moved.rows, strict=True):
        if before.provenance is Provenance.PUBLISHED:
            assert after.duration_ns == round(before.duration_ns * factor)
            assert after._replace(duration_ns=before.duration_ns) == before


def test_gradients_of_a_published_layer_keep_their_sum() -> None:
    network = load_network("alexnet", 128)
    factor = sample_factors(SAMPLES, seed=3)[0][PUBLISHED]
    moved = perturbed(alexnet(), network, 1, SAMPLES, seed=3)
    for layer in network.layers:
        if layer.kind is Kind.CONV:
            sums = [
                sum(
                    trace.row(layer.name, pass_, "IMPLICIT_PRECOMP_GEMM").duration_ns
                    for pass_ in ("backward_data", "backward_filter")
                )
                for trace in (alexnet(), moved)
            ]
            assert abs(sums[1] - sums[0] * factor) <= 2


def test_a_measured_trace_does_not_move() -> None:
    network = load_network("alexnet", 128)
    rows = [row._replace(source="cuda-events", provenance=Provenance.MEASURED) for row in alexnet().rows]
    measured = Trace(alexnet().header, rows)
    assert perturbed(measured, network, 1, SAMPLES, seed=3).rows == measured.rows

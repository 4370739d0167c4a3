"""Compressing DMA: what a policy has leave is squeezed between device memory and link, zeros left out.

Rhu et al., *Compressing DMA Engine* (HPCA 2018): activations behind a ReLU are mostly zeros. Zero-value compression
(ZVC) keeps a bit for each 32-bit word, and the words that are not zero: of a map with density d, d + 1/32 of its bytes
are on the wire, at most all of them. The engine reads device memory as fast as that keeps the link busy, but no faster
than is provided for, 200 GB/s. Copies in are the same backwards.

No GPU has that engine; the rule is derived from its format. A density is that of the weights with which it was measured
(`vdnnsim calibrate trace --density`: at initialisation, about a half behind a ReLU; training changes it), or given.

Deviations: the policy decides on plain copies, but what it tries is run with compressed ones; d is one number for a
map, not one for each of its lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Compression, MemoryClass
from vdnnsim.optimum.rehearsal import Rehearsal
from vdnnsim.policies.grammar import NONE, OF, Parameter, share
from vdnnsim.policies.plan import Laboratory, Plan, Policy, Problem, Trial
from vdnnsim.policies.variants import without_variant
from vdnnsim.units import PPM, ratio_to_ppm

_ENGINE_BYTES_PER_S = 200 * 10**9
_WORD_BYTES = 4
_MASK_PPM = PPM // 32


def _policy(text: str, what: str) -> str:
    if text.partition("(")[0].strip() in ("cdma", "optimal"):
        raise InvalidInput(f"{what}: found '{text}', expected a policy that copies plainly and is not searched for")
    return _made(text).name


def _made(text: str) -> Policy:
    from vdnnsim.policies.registry import make_policy  # which knows this module

    return make_policy(text)


def _density(text: str, what: str) -> int | None:
    return None if text == NONE else ratio_to_ppm(share(text, what))


def _shown_density(density_ppm: int | None) -> str:
    return NONE if density_ppm is None else f"{density_ppm / PPM:g}"


@dataclass(frozen=True)
class Cdma:
    """Compressing DMA (no GPU has the engine; densities measured or given): a policy's copies without their zeros."""

    of: str = "vdnn-all(p)"
    density_ppm: int | None = None

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {OF: Parameter("of", _policy), "density": Parameter("density_ppm", _density, _shown_density)}
    )

    @property
    def name(self) -> str:
        density = "" if self.density_ppm is None else f", density={_shown_density(self.density_ppm)}"
        return f"cdma({self.of}{density})"

    def check(self, problem: Problem) -> None:
        """What the other policy needs, and densities."""
        self._other(problem).check(problem)
        self._compression(problem)

    def plan(self, problem: Problem) -> Plan:
        compression = self._compression(problem)
        tries = _Compressing(problem.laboratory, compression)
        return tries.compressed(self._other(problem).plan(replace(problem, laboratory=tries)))

    def _other(self, problem: Problem) -> Policy:
        policy = _made(self.of)
        return without_variant(policy) if problem.workload.one_way else policy

    def _compression(self, problem: Problem) -> Compression:
        measured = problem.trace.header.densities_ppm
        if self.density_ppm is not None:
            density_ppm = self.density_ppm
            densities = {name: density_ppm for name in problem.iteration.tensors if _is_activation(problem, name)}
            label = f"density {density_ppm / PPM:g}, given"
        elif measured:
            densities, label = dict(measured), "densities measured at initialisation"
        else:
            raise InvalidInput(
                f"policy '{self.name}': found no densities in the trace of {problem.workload.name}, expected those "
                "that 'vdnnsim calibrate trace --density' measures, or one given, as in density=0.5"
            )
        wire_ppm = {name: min(density_ppm + _MASK_PPM, PPM) for name, density_ppm in sorted(densities.items())}
        return Compression(wire_ppm, _ENGINE_BYTES_PER_S, label)


def _is_activation(problem: Problem, name: str) -> bool:
    """Maps, but the input data and masks; of captured steps, which do not tell, every block."""
    tensor = problem.iteration.tensors[name]
    is_map = tensor.buffer.memory_class is MemoryClass.FEATURE_MAPS and tensor.element_bytes == _WORD_BYTES
    return problem.workload.one_way or (is_map and name not in problem.iteration.inputs)


class _Compressing:
    """A laboratory in which copies are compressed."""

    def __init__(self, laboratory: Laboratory, compression: Compression) -> None:
        self.laboratory, self.compression = laboratory, compression

    def compressed(self, plan: Plan) -> Plan:
        """The plan with compressed copies."""
        return replace(plan, schedule=replace(plan.schedule, compression=self.compression))

    def attempt(self, title: str, plan: Plan) -> Trial:
        """As `Laboratory.attempt`."""
        return self.laboratory.attempt(title, self.compressed(plan))

    def rehearse(self, plan: Plan) -> Rehearsal:
        """As `Laboratory.rehearse`."""
        return self.laboratory.rehearse(self.compressed(plan))

    def shrink_workspaces(self, plan: Plan) -> Plan:
        """As `Laboratory.shrink_workspaces`."""
        return self.laboratory.shrink_workspaces(self.compressed(plan))

"""The cases of a calibration report: a TOML file of networks, batches, math modes, policies and capacities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from vdnnsim.errors import Fault, InvalidFile, InvalidInput
from vdnnsim.files import read_toml
from vdnnsim.policies import make_policy
from vdnnsim.study import Study
from vdnnsim.units import parse_bytes

_Name = Annotated[str, Field(min_length=1)]
_Names = Annotated[list[_Name], Field(min_length=1)]
BETWEEN = "between"


class Limited(NamedTuple):
    """A policy that runs in less memory than the device has: `capacity` is a size, or "between"."""

    policy: str
    capacity: str


class CaseGroup(BaseModel):
    """One network and batch: `policies` run in the whole memory of the device, those of `limited` in a pool of the
    capacity named there. Where `measures_host`, its offloading cases in the first math mode say what an allocation
    costs the host, and are not held out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: _Name
    batch: Annotated[int, Field(ge=1, le=1 << 20, strict=True)]
    math: Annotated[list[Literal["fp32", "tf32"]], Field(min_length=1)] = ["fp32"]
    policies: _Names = [
        "baseline(p)",
        "vdnn-all(m)",
        "vdnn-all(p)",
        "vdnn-conv(m)",
        "vdnn-conv(p)",
    ]
    limited: dict[str, str] = {"vdnn-dyn": BETWEEN}
    measures_host: bool = False

    def measures_host_in(self, math: str) -> bool:
        """Whether the offloading cases in this math mode say what an allocation costs the host."""
        return self.measures_host and math == self.math[0]


class CasesFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(alias="schema")
    gpu: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    case: Annotated[list[CaseGroup], Field(min_length=1)]


def read_cases(path: Path) -> CasesFile:
    """The cases of a TOML file. Raises `InvalidFile`, `UnknownName`, `InvalidInput`."""
    cases = read_toml(path, CasesFile)
    for index, group in enumerate(cases.case):
        for policy in (*group.policies, *group.limited):
            make_policy(policy)
        for policy, capacity in group.limited.items():
            if capacity != BETWEEN:
                field = f"case[{index}].limited.{policy}"
                try:
                    parse_bytes(capacity, field)
                except InvalidInput as error:
                    raise InvalidFile([Fault(str(path), None, field, capacity, "a size or 'between'")]) from error
    return cases


def limited_study(study: Study, capacity: str) -> Study:
    """The study with less memory. "between" is half way from what vDNN-all (m) needs to what baseline (m) needs, so
    that the baseline does not fit and something does."""
    if capacity != BETWEEN:
        limit_bytes = parse_bytes(capacity, "capacity")
    else:
        needs = [study.run(make_policy(name)).result.needed_bytes for name in ("vdnn-all(m)", "baseline(m)")]
        limit_bytes = sum(needs) // 2
    return Study(study.network, study.trace, study.gpu.with_capacity(limit_bytes), study.pool, study.weight_gradients)

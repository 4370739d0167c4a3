"""The cases of a calibration report: a TOML file of networks, batches, math modes, policies and capacities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from vdnnsim.errors import Fault, InvalidFile, InvalidInput
from vdnnsim.files import line_of, read_text, read_toml, toml_lines
from vdnnsim.gpu import ProfileName
from vdnnsim.network import load_network
from vdnnsim.policies import make_policy
from vdnnsim.study import Study
from vdnnsim.units import parse_bytes

_Name = Annotated[str, Field(min_length=1)]
_Names = Annotated[list[_Name], Field(min_length=1)]
BETWEEN = "between"


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
    gpu: ProfileName
    case: Annotated[list[CaseGroup], Field(min_length=1)]


def read_cases(path: Path) -> CasesFile:
    """The cases of a TOML file; files of networks are relative to its folder. Raises `InvalidFile` with every fault and
    its line: fields, networks, policies and capacities that are none, and cases named twice."""
    cases = read_toml(path, CasesFile)
    cases = cases.model_copy(update={"case": [_found_from(path.parent, group) for group in cases.case]})
    lines = toml_lines(read_text(path))
    faults: list[Fault] = []
    seen: set[tuple[str, int, str]] = set()

    def fault(index: int, field: str, found: str, expected: str) -> None:
        line = line_of(lines, ("case", index, field))
        faults.append(Fault(str(path), line, f"case[{index}].{field}", found, expected))

    for index, group in enumerate(cases.case):
        try:
            name = load_network(group.network, group.batch).name
        except InvalidInput as error:
            fault(index, "network", f"'{group.network}'", f"a network; {error}")
            continue
        for math in group.math:
            if (name, group.batch, math) in seen:
                again = f"{name} (batch {group.batch}), {math} again"
                fault(index, "network", again, "each network, batch and math mode once")
            seen.add((name, group.batch, math))
        for field, policies in (("policies", group.policies), ("limited", list(group.limited))):
            for policy in policies:
                try:
                    make_policy(policy)
                except InvalidInput as error:
                    fault(index, field, f"'{policy}'", f"a policy; {error}")
        for policy, capacity in group.limited.items():
            try:
                if capacity != BETWEEN:
                    parse_bytes(capacity, policy)
            except InvalidInput:
                fault(index, "limited", f"'{capacity}' for {policy}", "a size such as 12GB, or 'between'")
        if len({*group.policies, *group.limited}) < len(group.policies) + len(group.limited):
            fault(index, "policies", "a policy twice", "each policy once, here or under limited")
    if faults:
        raise InvalidFile(faults)
    return cases


def _found_from(folder: Path, group: CaseGroup) -> CaseGroup:
    if not group.network.endswith(".toml"):
        return group
    return group.model_copy(update={"network": str(folder / group.network)})


def limited_study(study: Study, capacity: str) -> Study:
    """The study with less memory. "between" is half way from what vDNN-all (m) needs to what baseline (m) needs, so
    that the baseline does not fit and something does."""
    if capacity != BETWEEN:
        limit_bytes = parse_bytes(capacity, "capacity")
    else:
        needs = [study.run(make_policy(name)).result.needed_bytes for name in ("vdnn-all(m)", "baseline(m)")]
        limit_bytes = sum(needs) // 2
    return Study(study.workload, study.trace, study.gpu.with_capacity(limit_bytes), study.pool, study.weight_gradients)

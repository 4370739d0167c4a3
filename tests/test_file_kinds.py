"""Files that are mixed up: one line says what was found in place of what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vdnnsim.calibration.cases import CasesFile
from vdnnsim.captured import PlanFile
from vdnnsim.captured.header import HeaderFile as StepHeaderFile
from vdnnsim.captured.index import IndexFile
from vdnnsim.captured.plan_schema import PlanDocument
from vdnnsim.errors import InvalidFile
from vdnnsim.file_kinds import FileKind, kind_of, kind_of_model
from vdnnsim.gpu import read_profile
from vdnnsim.gpu.schema import ProfileFile
from vdnnsim.network.toml_file import NetworkFile, read_network
from vdnnsim.replay.files import _Header as LogHeader
from vdnnsim.sweep.spec import _SpecFile as SpecFile
from vdnnsim.sweep.spec import read_spec
from vdnnsim.topology import read_topology
from vdnnsim.topology.files import _TopologyFile as TopologyFile
from vdnnsim.trace import read_trace
from vdnnsim.trace.header import HeaderFile as TraceHeaderFile

ROOT = Path(__file__).parents[1]
TINY, SWEEP = ROOT / "examples" / "tiny.toml", ROOT / "examples" / "sweep.toml"
PROFILE, TOPOLOGY = ROOT / "gpu_profiles" / "h100.toml", ROOT / "topologies" / "dgx-h100.toml"


def network(path: Path) -> object:
    return read_network(path, 1)


@pytest.mark.parametrize(
    ("read", "file", "said"),
    [
        (network, TOPOLOGY, "found a topology of a host; expected a network"),
        (network, SWEEP, "found a sweep; expected a network"),
        (read_profile, TINY, "found a network; expected a GPU's profile"),
        (read_profile, PROFILE.parents[1] / "traces" / "h100" / "alexnet_b128_fp32.toml",
         "found the header of a trace; expected a GPU's profile"),
        (read_topology, PROFILE, "found a GPU's profile; expected a topology of a host"),
        (read_spec, TINY, "found a network; expected a sweep"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_told_in_one_line(read: Callable[[Path], object], file: Path, said: str) -> None:
    with pytest.raises(InvalidFile) as told:
        read(file)
    assert str(told.value) == f"{file}: file: {said}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("alexnet_b128_fp32.toml", "file: found the header of a trace; expected its table (.csv)"),
        ("lone.csv", "header: found no lone.toml beside it; expected the header of a trace there"),
    ],
)
def test_half_a_trace_is_told_in_one_line(name: str, said: str, tmp_path: Path) -> None:
    copied = tmp_path / name
    copied.write_bytes((PROFILE.parents[1] / "traces" / "h100" / "alexnet_b128_fp32.toml").read_bytes())
    with pytest.raises(InvalidFile) as told:
        read_trace(copied)
    assert str(told.value) == f"{copied}: {said}"


def test_of_an_empty_file_it_is_told_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("# nothing yet\n", encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"^.*a\.toml: file: found nothing in it; expected a network$"):
        network(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"results": [], "network": "alexnet"}', "found a result of compare or run; expected a plan"),
        ('{"traceEvents": []}', "found a timeline; expected a plan"),
        ("[]", "found an array; expected a plan"),
    ],
)
def test_json_that_is_no_plan_is_told_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidFile) as told:
        PlanFile.load(tmp_path / "a.json")
    assert str(told.value) == f"{tmp_path / 'a.json'}: file: {said}"


def test_faults_within_a_plan_are_told_as_those_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"leaving": [], "more": 1}', encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"a\.json: policy: found nothing; expected this field") as told:
        PlanFile.load(tmp_path / "a.json")
    assert "a.json: more: found 1; expected no field of this name" in str(told.value)


def test_every_file_of_ours_is_of_a_kind_of_its_own() -> None:
    models = (CasesFile, StepHeaderFile, IndexFile, PlanDocument, ProfileFile, NetworkFile, LogHeader, SpecFile)
    kinds = [kind_of_model(model) for model in (*models, TopologyFile, TraceHeaderFile)]
    assert len(set(kinds)) == len(kinds)
    assert None not in kinds
    assert kind_of({"schema", "name"}) is None
    assert set(FileKind) > set(kinds)

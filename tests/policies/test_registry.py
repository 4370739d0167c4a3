"""Policies by name, and users' own."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from support.staircase import study_with
from vdnnsim.cli.listing import list_command
from vdnnsim.errors import InvalidInput, UnknownName
from vdnnsim.policies import POLICIES, built_in_policies, installed_policies, make_policy, registry

OWN = '''
from vdnnsim.policies import Layout, make_plan, performance_optimal


class FirstConv:
    """Only the first CONV offloads."""

    name = "first-conv"

    def check(self, problem):
        pass

    def plan(self, problem):
        first = next(layer.name for layer in problem.network.layers if layer.kind == "CONV")
        return make_plan(problem, Layout.LAYER_WISE, [first], performance_optimal(problem.network, problem.trace))


class Demanding:
    name = "demanding"

    def __init__(self, wish):
        self.wish = wish


class Bare:
    pass


class Failing:
    def __init__(self):
        raise OSError("no such disk")


number = 7
'''


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_policy_for_test.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "broken_policy_for_test.py").write_text("def half(:\n", encoding="utf-8")
    (tmp_path / "failing_policy_for_test.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_policy_for_test", raising=False)
    return "own_policy_for_test"


@pytest.fixture
def installed(own_module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that brings two policies, one of which does not work, and one of a built-in's name."""
    values = {"first-conv": "FirstConv", "broken": "Missing", "oracle": "FirstConv"}
    entries = [EntryPoint(name, f"{own_module}:{kind}", registry.ENTRY_POINT_GROUP) for name, kind in values.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: [e for e in entries if e.group == group])


@pytest.mark.usefixtures("installed")
def test_an_installed_policy_goes_by_its_name_and_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(installed_policies()) == ["first-conv", "broken"]
    assert make_policy("first-conv").name == "first-conv"
    assert type(make_policy("oracle")).__module__ == "vdnnsim.policies.oracle"
    with pytest.raises(UnknownName, match=r"did you mean 'first-conv'.* Known: .*oracle, .*first-conv, broken"):
        make_policy("first-cov")
    list_command("policies")
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == [*built_in_policies(), "first-conv", "broken"]
    assert lines["first-conv"] == "Only the first CONV offloads."
    assert lines["broken"].startswith("cannot be used: policy 'own_policy_for_test:Missing'")


def test_on_a_terminal_the_list_is_no_wider_than_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    for what in ("policies", "gpus"):
        list_command(what)
        out = capsys.readouterr().out
        assert max(len(line) for line in re.sub("\x1b\\[[0-9]*m", "", out).splitlines()) <= 80
        assert "Parameters: ." not in out


@pytest.mark.parametrize("name", POLICIES)
def test_built_in_policies_by_name(name: str) -> None:
    assert make_policy(name).name == name


def test_a_users_class(own_module: str) -> None:
    run = study_with(30).run(make_policy(f"{own_module}:FirstConv"))
    assert run.result.policy == "first-conv"
    assert [buffer.name for buffer in run.program.offloaded] == ["map:data"]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("vdnn-al(m)", "unknown policy 'vdnn-al(m)'; did you mean 'vdnn-all(m)'?"),
        ("nowhere_at_all:Class", "No module named 'nowhere_at_all'; put the module on PYTHONPATH"),
        (":Class", "cannot be imported: ValueError"),
        (".relative:Class", "cannot be imported: TypeError"),
        ("broken_policy_for_test:Class", "cannot be imported: SyntaxError"),
        ("failing_policy_for_test:Class", "cannot be imported: ZeroDivisionError: division by zero"),
        (
            "own_policy_for_test:Missing",
            "no class 'Missing'; did you mean 'Failing'? it has: FirstConv, Demanding, Bare, Failing",
        ),
        ("own_policy_for_test:number", "no class 'number'"),
        ("own_policy_for_test:", "no class ''"),
        ("own_policy_for_test:Demanding", "cannot be made without arguments: TypeError"),
        ("own_policy_for_test:Failing", "cannot be made without arguments: OSError: no such disk"),
        ("own_policy_for_test:Bare", "lacks name, check, plan"),
    ],
)
@pytest.mark.usefixtures("own_module")
def test_what_cannot_be_used(reference: str, message: str) -> None:
    with pytest.raises((InvalidInput, UnknownName)) as caught:
        make_policy(reference)
    assert message in str(caught.value)

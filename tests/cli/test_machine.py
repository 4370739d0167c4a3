"""The options of a machine: the same in every command that simulates one, and the same words in Python."""

from __future__ import annotations

import pytest
import typer

from support.commands import in_process
from vdnnsim import advise, largest_batch
from vdnnsim.cli.app import app
from vdnnsim.cli.machine import OPTIONS
from vdnnsim.errors import InvalidInput
from vdnnsim.sweep.solve import Setting

TITAN = "titan-x-maxwell"
SOUGHT = {"smallest-capacity": {"capacity"}, "smallest-link": {name for name in OPTIONS if "bandwidth" in name}}
"""What a search finds is not asked of it."""
COMMANDS = typer.main.get_command(app)


@pytest.mark.parametrize("path", [
    "compare", "run", "memory-map", "page", "plan", "advise",
    "solve largest-batch", "solve smallest-capacity", "solve smallest-link",
])  # fmt: skip
def test_every_command_has_all_of_them(path: str) -> None:
    command = COMMANDS
    for name in path.split():
        command = command.commands[name]  # type: ignore[attr-defined]
    names = [parameter.name for parameter in command.params]
    assert set(OPTIONS) - set(names) == SOUGHT.get(path.split()[-1], set())
    assert len(set(names)) == len(names)


def test_a_question_is_asked_of_the_machine_that_was_asked_for() -> None:
    setting = Setting.of(
        "alexnet", gpu=TITAN, link_bandwidth="8 GB/s", link_bandwidth_in="4 GB/s", link_latency=50_000,
        compute_scale=2, host_scale=3, pinned_budget="1 GB",
    )  # fmt: skip
    study, own = setting.study_of(128), Setting.of("alexnet", gpu=TITAN).study_of(128)
    link, host = study.gpu.link, study.gpu.host
    assert [way.points[0].duration_ns for way in (link.copy_out, link.copy_in)] == [50_000, 50_000]
    assert [round(way.bandwidth_bytes_per_s, -7) for way in (link.copy_out, link.copy_in)] == [8 * 10**9, 4 * 10**9]
    assert host.kernel_ns == 3 * own.gpu.host.kernel_ns
    assert host.pinning.budget_bytes == 10**9
    assert study.trace.rows[0].duration_ns == own.trace.rows[0].duration_ns // 2
    with pytest.raises(InvalidInput, match=f"local for {TITAN}"):
        Setting.of("alexnet", gpu=TITAN, numa="remote").study_of(128)


def test_functions_take_them_by_the_same_names() -> None:
    with pytest.raises(InvalidInput, match="link latency"):
        largest_batch("alexnet", gpu=TITAN, policy="oracle", link_latency=0)
    with pytest.raises(InvalidInput, match="host scale"):
        advise("alexnet", batch=128, gpu=TITAN, host_scale=0)


@pytest.mark.parametrize("words", ["solve smallest-link alexnet --policy oracle", "advise alexnet"])
def test_a_fault_of_one_is_one_line(words: str) -> None:
    done = in_process([*words.split(), "--batch", "128", "--gpu", TITAN, "--compute-scale", "0"])
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("vdnnsim: compute scale: found 0.0, expected a factor from 0.001 to 1000")


def test_what_the_host_cannot_pin_is_not_advised() -> None:
    """Half of what leaves finds a place."""
    advice = advise("alexnet", batch=128, gpu=TITAN, capacity="1GB", pinned_budget="100MB")
    assert advice.best is None or advice.best.result.pinned_host_bytes <= 100 * 10**6
    assert advise("alexnet", batch=128, gpu=TITAN, capacity="1GB").best is not None

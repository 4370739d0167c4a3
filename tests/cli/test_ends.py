"""How the process ends when it is interrupted, or when nobody reads on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vdnnsim.cli import main
from vdnnsim.cli.app import app

COMMAND = (sys.executable, "-m", "vdnnsim")
NAMES = [command.name for command in app.registered_commands] + [group.name for group in app.registered_groups]


def interrupt(*_arguments: object, **_options: object) -> None:
    raise KeyboardInterrupt


ALEXNET = ("alexnet", "--batch", "128", "--gpu", "titan-x-maxwell")
INTERRUPTED_IN = {
    "compare": ("vdnnsim.study.compare", (*ALEXNET,)),
    "run": ("vdnnsim.study.compare", (*ALEXNET, "--policy", "oracle")),
    "list": ("vdnnsim.trace.list_traces", ("traces",)),
    "check": ("vdnnsim.cli.check._check", ("any.toml",)),
    "reproduce": ("vdnnsim.reproduce.reproduce", ("12", "--out", "out")),
    "calibrate": ("vdnnsim.cli.calibrate._bench", ("link", "--out", "gpu.toml", "--device", "cpu")),
    "sweep": ("vdnnsim.sweep.plan.plan_sweep", ("any.toml", "--out", "out")),
    "solve": ("vdnnsim.sweep.solve.smallest_capacity", ("smallest-capacity", *ALEXNET, "--policy", "oracle")),
}


def test_every_command_is_interrupted_below() -> None:
    assert set(NAMES) == set(INTERRUPTED_IN)


@pytest.mark.parametrize("command", INTERRUPTED_IN)
def test_every_command_says_in_one_line_that_it_was_interrupted(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place, arguments = INTERRUPTED_IN[command]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(place, interrupt)
    monkeypatch.setattr(sys, "argv", ["vdnnsim", command, *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 130
    assert capsys.readouterr().err == "vdnnsim: interrupted\n"


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a group of processes")
@pytest.mark.parametrize("delay_s", [0.1, 1.5])
def test_ctrl_c_with_workers_prints_one_line(delay_s: float, tmp_path: Path) -> None:
    """While workers are loading, and while they work."""
    process = subprocess.Popen(
        [*COMMAND, "reproduce", "--out", str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "vdnnsim: interrupted\n")


@pytest.mark.parametrize("arguments", [("--help",), ("list", "traces"), ("compare", *ALEXNET)])
def test_ends_quietly_when_nobody_reads(arguments: tuple[str, ...]) -> None:
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 1
    process.stderr.close()

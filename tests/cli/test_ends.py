"""How the process ends when it is interrupted, or when nobody reads on."""

import errno
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.examples import thorough
from support.sweeps import SMALL, start, write_spec
from vdnnsim.cli import main
from vdnnsim.cli.app import app

COMMAND = (sys.executable, "-m", "vdnnsim")
NAMES = [command.name for command in app.registered_commands] + [group.name for group in app.registered_groups]


def interrupt(*_arguments: object, **_options: object) -> None:
    raise KeyboardInterrupt


ALEXNET = ("alexnet", "--batch", "128", "--gpu", "titan-x-maxwell")
INTERRUPTED_IN = {
    "compare": ("vdnnsim.comparing.compare", (*ALEXNET,)),
    "run": ("vdnnsim.comparing.compare", (*ALEXNET, "--policy", "oracle")),
    "page": ("vdnnsim.comparing.compare", (*ALEXNET, "--out", "page.html")),
    "memory-map": ("vdnnsim.comparing.compare", (*ALEXNET, "--policy", "oracle", "--out", "map.png")),
    "advise": ("vdnnsim.advice.advise", ("alexnet", "--gpu", "titan-x-maxwell")),
    "diff": ("vdnnsim.differences.diff", ("a.json", "b.json")),
    "capture": ("vdnnsim.pytorch.script.Script", ("train.py:make", "--out", "out")),
    "model-trace": (
        "vdnnsim.carrying.model_trace",
        ("alexnet", "--batch", "128", "--from", "h200", "--to", "h100", "--out", "a.csv"),
    ),
    "plan": ("vdnnsim.comparing.compare", (".", "--gpu", "h200", "--policy", "oracle", "--out", "plan.json")),
    "import": ("vdnnsim.readers.reader_of", ("any.log", "--out", "out")),
    "replay": ("vdnnsim.replay.read_log", ("any",)),
    "list": ("vdnnsim.trace.list_traces", ("traces",)),
    "check": ("vdnnsim.cli.check._check", ("any.toml",)),
    "reproduce": ("vdnnsim_paper.reproduce", ("12", "--out", "out")),
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
@pytest.mark.parametrize("delay_s", [pytest.param(0.1, marks=thorough), 0.8])
def test_ctrl_c_with_workers_prints_one_line(delay_s: float, tmp_path: Path) -> None:
    """While workers are loading, and while they work."""
    process = start("reproduce", "--out", tmp_path / "out")
    deadline = time.monotonic() + 30
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "vdnnsim: interrupted\n")


BUILDER = (sys.executable, "-m", "vdnnsim.builder")


@pytest.mark.parametrize(
    "command",
    [(*COMMAND, "--help"), (*COMMAND, "list", "traces"), (*COMMAND, "compare", *ALEXNET), (*BUILDER, "--check")],
    ids=lambda command: " ".join(command[2:5]),
)
def test_ends_quietly_when_nobody_reads(command: tuple[str, ...]) -> None:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 1
    process.stderr.close()


@pytest.mark.skipif(os.name != "posix", reason="the shell closes a stream")
@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (f"compare {' '.join(ALEXNET)} >&-", 2, "vdnnsim: cannot write: stdout is closed\n"),
        (f"compare {' '.join(ALEXNET)} <&- >&-", 2, "vdnnsim: cannot write: stdout is closed\n"),
        (f"compare {' '.join(ALEXNET)} --json out.json --policies vdnn >&-", 2, "vdnnsim: unknown policy"),
        ("compare alexnt --batch 1 --gpu h200 2>&-", 2, ""),
        ("sweep spec.toml --out out >&- 2>&-", 0, ""),
    ],
)
def test_a_closed_stream_is_told_and_no_file_takes_its_place(
    command: str, code: int, told: str, tmp_path: Path
) -> None:
    write_spec(tmp_path, SMALL)
    line = f"'{sys.executable}' -m vdnnsim {command}"
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(told)
    assert "Traceback" not in done.stderr
    assert told or not done.stderr


def test_where_stderr_takes_nothing_the_exit_code_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def fileno(self) -> int:
            return spare

    spare = os.open(os.devnull, os.O_WRONLY)
    monkeypatch.setattr(sys, "argv", ["vdnnsim", "compare", "alexnt", "--batch", "1", "--gpu", "h200"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "stderr", Full())
    with pytest.raises(SystemExit) as stop:
        main()
    os.close(spare)
    assert stop.value.code == 2


def test_an_output_on_stdout_is_alone_there(tmp_path: Path) -> None:
    """Every option that names a text; what is a picture is refused."""
    for option in ("--json", "--csv", "--timeline"):
        done = subprocess.run(
            [*COMMAND, "compare", *ALEXNET, "--policies", "vdnn-dyn", option, "-"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("network," if option == "--csv" else "{")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("compare", *ALEXNET, "--figure", "-"), "--figure: found '-', expected a name ending in .png, .pdf, .svg"),
        (("compare", *ALEXNET, "--json", "-", "--timeline", "-"), "--json and --timeline: each names stdout (-)"),
        (("run", *ALEXNET, "--policy", "oracle", "--csv", "-", "--json", "-"), "--json and --csv: each names stdout"),
        (
            ("calibrate", "run", *ALEXNET, "--policy", "oracle", "--json", "-", "--timeline", "-"),
            "--json and --timeline: each names stdout",
        ),
    ],
)
def test_what_cannot_go_to_stdout_is_refused(
    arguments: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vdnnsim", *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert told in capsys.readouterr().err

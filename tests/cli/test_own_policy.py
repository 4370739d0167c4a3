"""A policy of one's own in the current folder serves every command that takes one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VGG16 = ("vgg16", "--batch", "128", "--gpu", "titan-x-maxwell")
OWN = "large_maps:LargeMaps"
SPEC = f"""
schema = 1
[axes]
network = "vgg16"
batch = 128
gpu = "titan-x-maxwell"
policy = "{OWN}"
"""
COMMANDS = {
    "compare": ("compare", *VGG16, "--policies", OWN),
    "run": ("run", *VGG16, "--policy", OWN),
    "sweep": ("sweep", "spec.toml", "--out", "out", "--jobs", "2"),
    "solve": ("solve", "smallest-link", *VGG16, "--policy", OWN),
    "check": ("check", "cases.toml"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_module_in_the_current_folder_is_found(command: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "large_maps.py", tmp_path)
    (tmp_path / "spec.toml").write_text(SPEC)
    cases = f'schema = 1\ngpu = "h200"\n[[case]]\nnetwork = "vgg16"\nbatch = 1\npolicies = ["{OWN}"]\n'
    (tmp_path / "cases.toml").write_text(cases)
    # -P: as the installed command, which unlike `python -m` does not look into the current folder by itself.
    line = [sys.executable, "-P", "-m", "vdnnsim", *COMMANDS[command]]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "large-maps" in done.stdout or command in ("sweep", "check", "solve")
    assert ", 0 of them failed" in done.stderr or " failed" not in done.stderr


def test_a_file_in_the_current_folder_takes_no_librarys_place(tmp_path: Path) -> None:
    for name in ("rich", "simpy", "csv", "pandas"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('this is no library')")
    line = [sys.executable, "-P", "-m", "vdnnsim", "compare", *VGG16, "--csv", "-"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

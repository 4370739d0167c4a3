"""A wheel built from the checkout, installed where nothing else of the project is, runs outside the checkout."""

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_wheel_carries_its_data_and_compares(tmp_path: Path) -> None:
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    # From a wheel that it builds first.
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "install", "--no-deps", "--no-build-isolation", "--no-compile", "--target", site, ROOT, cwd=tmp_path)
    # The libraries of this environment serve as the new one's, after its own, so that nothing is downloaded.
    site.joinpath("libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(python, "-c", "import vdnnsim; print(vdnnsim.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(site)
    arguments = (
        "compare",
        "vgg16",
        "--batch",
        "256",
        "--gpu",
        "titan-x-maxwell",
        "--policies",
        "vdnn-dyn",
        "--json",
        "-",
    )
    document = json.loads(run(python, "-m", "vdnnsim", *arguments, cwd=tmp_path))
    assert document["results"][0]["trainable"] is True
    listed = run(python, "-m", "vdnnsim", "list", "traces", cwd=tmp_path)
    assert str(site) in listed
    assert listed.count(".csv") == len(list(ROOT.glob("traces/*/*_b*_*.csv")))
    made = run(python, "-m", "vdnnsim.builder", "alexnet", "--batch", "2", "--out", "traces", cwd=tmp_path)
    assert (tmp_path / made.strip()).is_file()
    run(python, "-m", "vdnnsim", "reproduce", "12", "--no-bands", "--out", "paper", cwd=tmp_path)
    assert (tmp_path / "paper" / "fig12.pdf").is_file()
    packages = {"vdnnsim", "vdnnsim_builder", "vdnnsim_paper"}
    assert {path.name for path in site.iterdir() if path.suffix not in (".dist-info", ".pth")} == {*packages, "bin"}

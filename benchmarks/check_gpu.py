"""All that only a GPU can show of captures and plans, in parts that do not need each other, each with a limit of time.

python benchmarks/check_gpu.py --gpu h100 --out DIR --seconds 570

Parts: "machine" (versions, libraries, host memory), "tests" (the tests of tests/pytorch that need a GPU), "measured M"
for each model M of check.toml (captured, predicted, trained by its plans), "checks gpt" and "checks resnet" (the same
tests of captures on full-sized models), and "predictions" (what `compare` says of each captured step). What a part
prints goes to DIR/PART.txt, and the end of it here; DIR/parts.json says how each went; DIR/measured is as measure.py
leaves it. Runs from a checkout as well: it needs no installed vdnnsim.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "experiments" / "pytorch"
MEASURED = "measured"
LEAST_S = 10
"""A part is not begun with less time than this."""
_TAIL_LINES = 25
_GIB = 1 << 30
_PACKAGES = ("simpy", "numpy", "pandas", "matplotlib", "pydantic", "typer", "rich", "tomli_w", "pynvml", "pytest")


class Part(NamedTuple):
    """A command with what it adds to the environment, and how long it may take at most."""

    name: str
    command: Sequence[str]
    limit_s: float
    environment: Mapping[str, str] = {}


def pytest_command(*arguments: str) -> list[str]:
    """Tests of GPUs need nothing of the files that prepare all tests; warnings of other versions of PyTorch are shown,
    but are no failures here."""
    options = ["--noconftest", "-o", "filterwarnings=default", "-p", "no:cacheprovider", "-s", "-rfEs", "--tb=short"]
    return [sys.executable, "-m", "pytest", *options, *arguments]


def parts_of(gpu: str, out: Path, cases: Path, models: Sequence[str], device: str | None, host_gib: int) -> list[Part]:
    """In the order in which they tell most."""
    own = [sys.executable, str(Path(__file__).resolve()), "--gpu", gpu, "--out", str(out)]
    measure = [sys.executable, str(LIST / "measure.py"), "--gpu", gpu, "--out", str(out / MEASURED)]
    measure += ["--cases", str(cases), *(["--device", device] if device else [])]
    of_captures = "tests/pytorch/test_capture_gpu.py"
    full = {"VDNNSIM_CAPTURE": "full"}
    return [
        Part("machine", [*own, "--look", str(host_gib)], 90),
        Part("tests", pytest_command(of_captures, "tests/pytorch/test_offload_gpu.py"), 180),
        *(Part(f"{MEASURED} {model}", [*measure, "--only", model], 150) for model in models),
        Part("checks gpt", pytest_command(of_captures, "-k", "124M"), 100, full),
        Part("checks resnet", pytest_command(of_captures, "-k", "resnet50 and not last"), 100, full),
        Part("predictions", [*own, "--predict"], 60),
    ]


def checkout_metadata(folder: Path) -> Path:
    """A folder that tells of this checkout what an installation would: its results name the version of vdnnsim."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    told = folder / "vdnnsim.dist-info"
    told.mkdir(parents=True, exist_ok=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vdnnsim\nVersion: {version}\n", encoding="utf-8")
    return folder


def run(part: Part, log: Path, limit_s: float) -> str:
    """Run it with all that it starts; return how it went. What it prints goes to the log."""
    there = [os.environ.get("PYTHONPATH", ""), str(checkout_metadata(log.parent / "checkout"))]
    paths = os.pathsep.join(filter(None, [str(ROOT), *there]))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", **part.environment}
    begun = time.monotonic()
    with (
        log.open("wb") as output,
        subprocess.Popen(
            part.command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        ) as process,
    ):
        try:
            code: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    took = f"{time.monotonic() - begun:.0f} s"
    return f"cut after {took}" if code is None else f"done, {took}" if code == 0 else f"exit code {code}, {took}"


def run_all(parts: Sequence[Part], out: Path, seconds: float) -> dict[str, str]:
    """How each went that there was time for."""
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    found: dict[str, str] = {}
    for part in parts:
        left_s = end - time.monotonic()
        log = out / f"{part.name.replace(' ', '_')}.txt"
        found[part.name] = run(part, log, min(part.limit_s, left_s)) if left_s >= LEAST_S else "no time left"
        (out / "parts.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        print(f"===== {part.name}: {found[part.name]}", *lines[-_TAIL_LINES:], sep="\n", flush=True)
    return found


def look(host_gib: int) -> None:
    """What the rest depends on. Host memory is written once, since that of some virtual machines grows with use."""
    for what, tell in (
        ("torch", _versions),
        ("libcudart", _libraries),
        ("a saved tensor tells what hooks keep of it", _saved_tensor_tells),
        ("host memory", _host_memory),
        ("the same, when much of it was written", lambda: _written(host_gib)),
        ("packages", _packages),
    ):
        try:
            print(f"{what}: {tell()}", flush=True)
        except Exception as error:
            print(f"{what}: {type(error).__name__}: {error}", flush=True)


def _versions() -> str:
    import torch

    card = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else "no GPU"
    cudnn = torch.backends.cudnn.version()
    return f"{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}, Python {sys.version.split()[0]}, {card}"


def _libraries() -> str:
    import torch

    from vdnnsim.pytorch.cudart import Runtime

    torch.zeros(1, device="cuda")
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8").split()
    before = {one for one in mapped if "libcudart" in one}
    Runtime(torch.version.cuda or "")
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8").split()
    after = {one for one in mapped if "libcudart" in one}
    return f"PyTorch's is {sorted(before)}, also loaded {sorted(after - before)} (expected: one, and none)"


def _saved_tensor_tells() -> str:
    import torch

    x = torch.ones(2, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda _: "kept", lambda _: x):
        node = (x * x).grad_fn
    return repr(getattr(node._raw_saved_self, "data", "no"))


def _host_memory() -> str:
    kinds = ("MemTotal", "MemAvailable")
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return ", ".join(" ".join(line.split()) for line in lines if line.startswith(kinds))


def _written(host_gib: int) -> str:
    from vdnnsim.machines.real.cuda_driver import PageMemory, touch

    held = []
    begun = time.monotonic()
    for _ in range(host_gib):
        held.append(PageMemory(_GIB))
        touch(held[-1])
    took_s = time.monotonic() - begun
    held.clear()
    return f"{host_gib} GiB in {took_s:.1f} s; {_host_memory()}"


def _packages() -> str:
    from importlib.util import find_spec

    return ", ".join(f"{name} {'yes' if find_spec(name) else 'NO'}" for name in _PACKAGES)


def predict(out: Path) -> None:
    """What is said of each captured step, with the link as it was measured."""
    from vdnnsim import compare, read_step

    profiles = sorted((out / MEASURED / "machines").glob("*.toml"))
    for folder in sorted((out / MEASURED).glob("*/kernels.csv")):
        step = read_step(folder.parent)
        print(step, step.header.conditions, step.seen, step.hooks, compare(step, gpu=str(profiles[-1])), sep="\n")


def main(arguments: list[str]) -> int:
    sys.path[:0] = [str(ROOT), str(LIST)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", required=True, help="the profile of this card; its link is measured anew")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=570, help="for all parts together")
    parser.add_argument("--only", action="append", help="parts whose names begin so; may be given several times")
    parser.add_argument("--cases", type=Path, default=LIST / "check.toml")
    parser.add_argument("--device", help="cuda or cpu")
    parser.add_argument("--host-gib", type=int, default=24, help="host memory that is written first")
    parser.add_argument("--look", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--predict", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.look is not None:
        look(asked.look)
        return 0
    if asked.predict:
        predict(asked.out)
        return 0
    import measure

    models = [part.title for part in measure.parts_of(asked.cases)]
    parts = parts_of(asked.gpu, asked.out.resolve(), asked.cases.resolve(), models, asked.device, asked.host_gib)
    wanted = [part for part in parts if not asked.only or part.name.startswith(tuple(asked.only))]
    if not wanted:
        names = ", ".join(part.name for part in parts)
        parser.error(f"--only: found {', '.join(asked.only)}, expected beginnings of: {names}")
    found = run_all(wanted, asked.out, asked.seconds)
    table = asked.out / MEASURED / "table.md"
    print("=====", table.read_text(encoding="utf-8") if table.is_file() else "nothing was measured", sep="\n")
    print(json.dumps(found, indent=1))
    return 0 if all(how.startswith("done") for how in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

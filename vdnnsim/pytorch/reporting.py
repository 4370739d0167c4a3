"""`calibrate pytorch`: a script's training by one plan after the other, as table, JSON and figure.

The folder keeps the captured step, the profile with the link as it was measured beside it, and every case; what is
there of this machine and this step is not measured again.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from vdnnsim.calibration.profile_text import with_link
from vdnnsim.calibration.progress import OnProgress, silent
from vdnnsim.calibration.step_records import StepRecord, read_step_records, records_text, stored_for, table_of
from vdnnsim.calibration.stored import RESULTS, machine_id
from vdnnsim.captured import CapturedStep, is_step, read_step, write_step
from vdnnsim.errors import CannotWrite, InvalidInput, VdnnsimError
from vdnnsim.files import read_text, write_text
from vdnnsim.folder_lock import only_writer
from vdnnsim.gpu import GpuProfile, load_profile, profile_file, read_profile
from vdnnsim.pytorch.capturing import capture
from vdnnsim.pytorch.devices import CaptureDevice, open_device
from vdnnsim.pytorch.measuring import check_step_of, copies_now, predicted
from vdnnsim.pytorch.offloading import pinned_memory
from vdnnsim.pytorch.script import Script, Training
from vdnnsim.pytorch.step_bench import step_bench

__all__ = ["Script", "StepReport", "Wanted", "make_step_report"]
TABLE, FIGURE = "table.md", "errors.png"
MACHINE = "machine"
"""The condition of a captured step that says on which machine it was captured."""


class Wanted(NamedTuple):
    """What is to be measured: of which script and model, for which GPU's profile, by which policies (None: the usual
    ones), within which capacity (None: all that there is)."""

    script: Script
    name: str
    gpu: str
    policies: Sequence[str] | None = None
    capacity: str | None = None
    device: str | None = None


class StepReport(NamedTuple):
    """All cases of the folder, those just asked for first; and of each policy that failed, why."""

    records: tuple[StepRecord, ...]
    failures: Mapping[str, str]


def make_step_report(wanted: Wanted, out: Path, progress: OnProgress = silent) -> StepReport:
    """Measure what the folder lacks, and write table, JSON and figure of all that it has. A step that was captured on
    another machine is captured anew, since its kernels, link and host belong together; the cases of other machines stay
    in the folder as they are.

    Raises `InvalidInput` for a script, policy or profile that cannot be used, and where the folder holds a step of
    another model of this name; `StepFailed` where the capture's steps raise.
    """
    profile = load_profile(wanted.gpu)
    with only_writer(out):
        return _Making(wanted, profile, out, progress).report()


class _Card(NamedTuple):
    """A card as `machine_id` takes it."""

    uuid: str
    name: str


def machine_of(device: CaptureDevice) -> str:
    """Which machine this is; see `machine_id`."""
    if device.torch_device.type != "cuda":
        return machine_id(_Card("", device.torch_device.type))
    return machine_id(_Card(f"GPU-{torch.cuda.get_device_properties(device.torch_device).uuid}", "cuda"))


class _Making:
    """A report while it is made."""

    def __init__(self, wanted: Wanted, profile: GpuProfile, out: Path, progress: OnProgress) -> None:
        self.wanted, self.out, self.progress = wanted, out, progress
        self.stored = read_step_records(out / RESULTS)
        self.training: Training = wanted.script.make({}, wanted.device)
        self.device = open_device(wanted.device, self.training.model)
        self.machine = machine_of(self.device)
        self.step = self._captured(profile.name)
        self.conditions = {"date": time.strftime("%Y-%m-%d %H:%M:%S %Z"), **self.device.conditions()}
        self.failures: dict[str, str] = {}

    def report(self) -> StepReport:
        profile = self._profile()
        cases = predicted(self.step, profile, self.wanted.policies)
        found = [stored_for(self.stored, prediction, self.machine) for prediction, _ in cases]
        missing = [number for number, record in enumerate(found) if record is None]
        training = self.training
        if missing:
            with (
                pinned_memory(self.device.torch_device, (cases[number][1] for number in missing)) as pinned,
                step_bench(
                    training.step, training.model, self.step, training.optimizer, self.device, self.machine
                ) as bench,
            ):
                for done, number in enumerate(missing):
                    prediction, plan = cases[number]
                    self.progress(done, len(missing), prediction.policy)
                    try:
                        found[number] = bench.case(prediction, plan, self.wanted.capacity is not None, pinned)
                    except CannotWrite:
                        raise
                    except VdnnsimError as error:
                        self.failures[prediction.policy] = str(error)
                        self.progress(done, len(missing), f"{prediction.policy} failed: {error}")
                    write_text(self.out / RESULTS, records_text(self._all(found), self.conditions))
        records = self._all(found)
        failed = {f"failed: {policy}": why for policy, why in self.failures.items()}
        write_text(self.out / RESULTS, records_text(records, self.conditions | failed))
        write_text(self.out / TABLE, table_of(records, self.conditions | failed))
        self._draw(records)
        return StepReport(tuple(records), self.failures)

    def _captured(self, gpu: str) -> CapturedStep:
        """The step of the folder, if it was captured on this machine, or a new one."""
        folder = self.out / self.wanted.name
        if is_step(folder):
            step = read_step(folder)
            try:
                check_step_of(step, self.training.model)
            except InvalidInput as error:
                raise InvalidInput(f"{folder}: {error}; or give an empty folder to measure afresh") from None
            if step.header.conditions.get(MACHINE) == self.machine and step.header.gpu == gpu:
                return step
        self.progress(0, 1, "capture")
        training, script = self.training, self.wanted.script
        setting = {key: value for key, value in script.defaults.items() if key != "device"}
        step = capture(*training, name=self.wanted.name, device=self.wanted.device, gpu=gpu, setting=setting)
        conditions = {**step.header.conditions, MACHINE: self.machine}
        step = replace(step, header=replace(step.header, conditions=conditions))
        write_step(step, folder)
        gc.collect()
        return step

    def _profile(self) -> GpuProfile:
        """The profile, with the link as it was measured in this folder on this machine first."""
        path = self.out / "machines" / f"{self.machine}.toml"
        if not path.is_file():
            self.progress(0, 1, "link")
            path.parent.mkdir(exist_ok=True)
            text = read_text(profile_file(self.wanted.gpu))
            write_text(path, with_link(text, copies_now(self.device), time.strftime("%Y-%m-%d %H:%M:%S %Z")))
        profile = read_profile(path)
        return profile if self.wanted.capacity is None else profile.with_capacity(self.wanted.capacity)

    def _all(self, found: Sequence[StepRecord | None]) -> list[StepRecord]:
        """Those asked for in their order, then what else the folder has."""
        own = [record for record in found if record is not None]
        return own + [record for record in self.stored if record not in own]

    def _draw(self, records: Sequence[StepRecord]) -> None:
        from vdnnsim.figures.calibration import steps_figure

        if any(record.step_ns is not None for record in records):
            steps_figure(records, self.out / FIGURE)

"""Which machine something was measured on: a rented card may be another one next time, and so may its host."""

from __future__ import annotations

from pathlib import Path

from vdnnsim.machines.real.device import Device


def machine_id(device: Device) -> str:
    """A short name of the card and of this start of the machine that holds it, fit for a file's name."""
    card = device.uuid.removeprefix("GPU-").partition("-")[0] or device.name
    return f"{card}-{_boot_id()[:8]}"


def profile_path(out: Path, machine: str) -> Path:
    """Where a report keeps the profile of a machine: link and host as they were there."""
    return out / "machines" / f"{machine}.toml"


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"

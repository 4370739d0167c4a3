"""The machines that run programs. Only `simulated` knows SimPy; import the one you need."""

from vdnnsim.machines.checking import BrokenProgram, check_program
from vdnnsim.machines.device_memory import DeviceMemory, OutOfMemory, replay_memory

__all__ = ["BrokenProgram", "DeviceMemory", "OutOfMemory", "check_program", "replay_memory"]

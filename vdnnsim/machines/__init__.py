"""The machines that run programs. Only `simulated` knows SimPy; import the one you need."""

from vdnnsim.machines.device_memory import DeviceMemory, OutOfMemory, replay_memory

__all__ = ["DeviceMemory", "OutOfMemory", "replay_memory"]

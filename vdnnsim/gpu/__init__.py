"""GPU profiles: capacity, link, host costs, pinned memory, NVMe, power; what kernels cannot be faster than."""

from vdnnsim.gpu.after_wait import AfterWait, CallKind
from vdnnsim.gpu.files import (
    list_profiles,
    load_profile,
    load_roofline,
    profile_file,
    read_profile,
    read_profile_file,
)
from vdnnsim.gpu.nvme import Nvme
from vdnnsim.gpu.pinning import Pinning
from vdnnsim.gpu.profile import WAYS, BesideCopies, GpuProfile, HostCosts, HostMemory, Link, LinkCurve, LinkPoint, Power
from vdnnsim.gpu.roofline import Roofline
from vdnnsim.gpu.schema import ProfileFile, ProfileName, check_profile_name

__all__ = [
    "WAYS",
    "AfterWait",
    "BesideCopies",
    "CallKind",
    "GpuProfile",
    "HostCosts",
    "HostMemory",
    "Link",
    "LinkCurve",
    "LinkPoint",
    "Nvme",
    "Pinning",
    "Power",
    "ProfileFile",
    "ProfileName",
    "Roofline",
    "check_profile_name",
    "list_profiles",
    "load_profile",
    "load_roofline",
    "profile_file",
    "read_profile",
    "read_profile_file",
]

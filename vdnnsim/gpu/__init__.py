"""GPU profiles: capacity, link, host costs, power."""

from vdnnsim.gpu.after_wait import AfterWait, CallKind
from vdnnsim.gpu.files import ProfileName, check_profile_name, list_profiles, load_profile, profile_file, read_profile
from vdnnsim.gpu.profile import BesideCopies, GpuProfile, HostCosts, Link, LinkCurve, LinkPoint, Power

__all__ = [
    "AfterWait",
    "BesideCopies",
    "CallKind",
    "GpuProfile",
    "HostCosts",
    "Link",
    "LinkCurve",
    "LinkPoint",
    "Power",
    "ProfileName",
    "check_profile_name",
    "list_profiles",
    "load_profile",
    "profile_file",
    "read_profile",
]

"""What a shell completes beside commands and options: the names that there are."""

from __future__ import annotations

from collections.abc import Iterable


def networks(incomplete: str) -> list[str]:
    """Built-in networks; a file or a folder is the shell's to complete."""
    from vdnnsim.network import NETWORKS

    return _beginning(NETWORKS, incomplete)


def gpus(incomplete: str) -> list[str]:
    """The profiles that came with the package."""
    from vdnnsim.gpu import list_profiles

    return _beginning((path.stem for path in list_profiles()), incomplete)


def policies(incomplete: str) -> list[str]:
    """Built-in and installed policies; the last of several that commas part."""
    from vdnnsim.policies import built_in_policies, installed_policies

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _beginning((*built_in_policies(), *installed_policies()), last)]


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))

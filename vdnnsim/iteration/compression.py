"""Copies that put fewer bytes on the wire than they move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from vdnnsim.units import PPM


@dataclass(frozen=True)
class Compression:
    """What an engine between memory and link makes of tensors on their way, both ways.

    Of a tensor's bytes so many millionths are on the wire, and pinned on the host; all of one that is not named. The
    engine reads and writes device memory at `engine_bytes_per_s` at most. `label` says where the shares are from.
    """

    wire_ppm: Mapping[str, int] = field(default_factory=dict)
    engine_bytes_per_s: int = 10**12
    label: str = ""

    @property
    def key(self) -> object:
        """Equal for those that copy the same."""
        return self.engine_bytes_per_s, frozenset(self.wire_ppm.items())

    def of_others_too(self, names: Mapping[str, str]) -> Compression:
        """The same, also of tensors that by other names, the keys, are these."""
        others = {name: self.wire_ppm[of] for name, of in names.items() if of in self.wire_ppm}
        return replace(self, wire_ppm={**self.wire_ppm, **others})

    def wire_bytes(self, name: str, size_bytes: int) -> int:
        """The bytes of a tensor on the wire, rounded up."""
        return -(-size_bytes * self.wire_ppm.get(name, PPM) // PPM)

    def least_ns(self, name: str, size_bytes: int) -> int:
        """How long the engine takes for the whole of a tensor, rounded up; nothing for one that is not squeezed."""
        return -(-size_bytes * 10**9 // self.engine_bytes_per_s) if name in self.wire_ppm else 0

    def copy_ns(self, name: str, size_bytes: int, on_link_ns: Callable[[int], int]) -> int:
        """How long its copy takes alone: on the link, and no less than the engine takes."""
        return max(on_link_ns(self.wire_bytes(name, size_bytes)), self.least_ns(name, size_bytes))

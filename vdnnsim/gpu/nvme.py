"""NVMe behind the host: how fast it is written and read, and how much it holds."""

from __future__ import annotations

from dataclasses import dataclass

REQUEST_BYTES = 128 << 10
"""What one request moves where nothing else is said: the size by which drives' sequential rates are specified."""
_NS = 10**9


@dataclass(frozen=True, slots=True)
class Nvme:
    """One drive, or several that are used as one. What it reaches is `write_bytes_per_s` and `read_bytes_per_s`; with
    `queue_depth` requests of `request_bytes` under way (None: enough of them) no more than these bytes in the time of
    one request, its latency (Little's law). `capacity_bytes` is None where it is not known."""

    write_bytes_per_s: int
    read_bytes_per_s: int
    write_latency_ns: int = 0
    read_latency_ns: int = 0
    queue_depth: int | None = None
    request_bytes: int = REQUEST_BYTES
    capacity_bytes: int | None = None

    @property
    def reached_write_bytes_per_s(self) -> int:
        """What large writes reach."""
        return self._reached(self.write_bytes_per_s, self.write_latency_ns)

    def write_ns(self, size_bytes: int) -> int:
        """How long so many bytes take from pinned memory to the drive, by themselves."""
        return self._takes_ns(size_bytes, self.write_bytes_per_s, self.write_latency_ns)

    def read_ns(self, size_bytes: int) -> int:
        """How long they take back."""
        return self._takes_ns(size_bytes, self.read_bytes_per_s, self.read_latency_ns)

    def _takes_ns(self, size_bytes: int, bytes_per_s: int, latency_ns: int) -> int:
        """The latency of the first request, and all bytes at the rate; rounded up."""
        return latency_ns - (-size_bytes * _NS // self._reached(bytes_per_s, latency_ns))

    def _reached(self, bytes_per_s: int, latency_ns: int) -> int:
        if self.queue_depth is None or not latency_ns:
            return bytes_per_s
        return min(bytes_per_s, max(1, self.queue_depth * self.request_bytes * _NS // latency_ns))

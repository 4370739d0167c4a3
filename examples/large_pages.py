"""A pool of one's own: best fit in pages of 2 MiB, as a driver hands out device memory.

vdnnsim compare vgg16 --batch 128 --gpu titan-x-maxwell --pool large_pages:LargePages
"""

from vdnnsim import BestFitPool

PAGE_BYTES = 2 << 20


class LargePages(BestFitPool):
    name = "large-pages"

    def allocate(self, size_bytes: int) -> int:
        return super().allocate(-(-size_bytes // PAGE_BYTES) * PAGE_BYTES)

    @property
    def largest_hole_bytes(self) -> int:
        return super().largest_hole_bytes // PAGE_BYTES * PAGE_BYTES

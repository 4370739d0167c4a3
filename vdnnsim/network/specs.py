"""Short words for writing networks down: a `Stack` collects layers, each reading the one before unless told."""

from __future__ import annotations

from collections.abc import Sequence

from vdnnsim.network.layers import DATA, Kind, LayerSpec


class Stack:
    """Layers in the order they are added; each method returns the new layer's name, for later layers to read."""

    def __init__(self) -> None:
        self.specs: list[LayerSpec] = []

    @property
    def top(self) -> str:
        return self.specs[-1].name if self.specs else DATA

    def conv(
        self,
        name: str,
        channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        source: str | None = None,
        bias: bool = True,
        groups: int = 1,
    ) -> str:
        return self._add(
            LayerSpec(
                name,
                Kind.CONV,
                (source or self.top,),
                channels,
                (kernel, kernel),
                (stride, stride),
                (padding, padding),
                bias=bias,
                groups=groups,
            )
        )

    def conv_bn(
        self,
        name: str,
        channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        source: str | None = None,
        groups: int = 1,
    ) -> str:
        """A CONV without bias and the BN of its output, which is called `{name}_bn`."""
        self.conv(name, channels, kernel, stride, padding, source, False, groups)
        return self.apply(Kind.BN, f"{name}_bn")

    def pool(
        self,
        name: str,
        kernel: int,
        stride: int,
        padding: int = 0,
        source: str | None = None,
        average: bool = False,
        ceil: bool = False,
    ) -> str:
        return self._add(
            LayerSpec(
                name,
                Kind.POOL,
                (source or self.top,),
                kernel=(kernel, kernel),
                stride=(stride, stride),
                padding=(padding, padding),
                average=average,
                ceil=ceil,
            )
        )

    def global_average_pool(self, name: str) -> str:
        return self._add(LayerSpec(name, Kind.POOL, (self.top,), average=True))

    def fc(self, name: str, channels: int) -> str:
        return self._add(LayerSpec(name, Kind.FC, (self.top,), channels))

    def join(self, kind: Kind, name: str, sources: Sequence[str]) -> str:
        """A CONCAT or an ADD of several layers."""
        return self._add(LayerSpec(name, kind, tuple(sources)))

    def apply(self, kind: Kind, name: str, source: str | None = None) -> str:
        """A layer without parameters of its own: ACTV, BN, DROPOUT, LRN, SOFTMAX."""
        return self._add(LayerSpec(name, kind, (source or self.top,)))

    def _add(self, spec: LayerSpec) -> str:
        self.specs.append(spec)
        return spec.name

"""Memory that the names of a running program hold: what it takes at most, without running it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flopscope.graph import TensorType

Rounded = Callable[[int], int]
"""What an allocator takes for a tensor of so many bytes."""


def exact(size: int) -> int:
    """An allocator that rounds nothing, as PyTorch's on a CPU."""
    return size


class Held:
    """Names and the memory that each holds.

    A name that is bound again lets go of what it held after the new memory was taken, as in ``x = f(x)``.
    """

    def __init__(self, rounded: Rounded = exact) -> None:
        self._rounded = rounded
        self._bytes: dict[str, int] = {}
        self._live = 0
        self.peak_bytes = 0

    def bind(self, name: str, types: Iterable[TensorType]) -> None:
        """Make tensors and let the name hold them in place of what it held."""
        taken = sum(self._rounded(type.bytes(type.elements)) for type in types)
        self._live += taken
        self.peak_bytes = max(self.peak_bytes, self._live)
        self.free(name)
        self._bytes[name] = taken

    def free(self, name: str) -> None:
        """Let go of what the name holds, if it holds anything."""
        self._live -= self._bytes.pop(name, 0)

    def move(self, name: str, to: str) -> None:
        """Let another name hold what this one holds, in place of what it held."""
        self.free(to)
        if name in self._bytes:
            self._bytes[to] = self._bytes.pop(name)

    def pass_by(self, types: Iterable[TensorType]) -> None:
        """Make tensors that nothing holds on to."""
        self.bind("passing by", types)
        self.free("passing by")

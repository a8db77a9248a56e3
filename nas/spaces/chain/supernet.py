"""The supernet of a space of chains: a choice in each slot, one path or a mixture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from nas.models.layers import init_weights
from nas.relaxations.softmax import softmax
from nas.spaces.chain.blocks import block, head, stem
from nas.spaces.chain.shape import ZERO, ChainShape, Slot
from nas.spaces.choice import Choice

BLOCKS, RESIDUAL = "blocks", "residual"
"""The kinds of choice: slots without a zero operation, and slots with one."""


def kinds_of(shape: ChainShape) -> dict[str, list[Slot]]:
    """The slots of each kind, in order: the rows of a matrix of architecture parameters. A kind without slots is left out."""
    found: dict[str, list[Slot]] = {}
    for slot in shape.slots():
        found.setdefault(RESIDUAL if ZERO in shape.candidates(slot) else BLOCKS, []).append(slot)
    return found


class ChainNet(nn.Module):
    """A classifier of choices in a row.

    Args:
        shape: of the chain.
        classes: how many.
        channels_in: channels of the images.
    """

    def __init__(self, shape: ChainShape, classes: int, channels_in: int = 3) -> None:
        super().__init__()
        self.shape = shape
        rows = kinds_of(shape)
        self.alphas = nn.ParameterDict()
        self.stem = stem(shape, channels_in)
        self.slots = nn.Sequential()
        self._kinds: list[str] = []
        for slot in shape.slots():
            kind = next(name for name, slots in rows.items() if slot in slots)
            candidates = [block(shape, slot, name) for name in shape.candidates(slot)]
            if kind not in self.alphas:
                self.alphas[kind] = nn.Parameter(self.stem[0][0].weight.new_zeros(len(rows[kind]), len(candidates)))  # type: ignore[index]
            self._kinds.append(kind)
            self.slots.append(Choice(candidates, _Row(self, kind), rows[kind].index(slot)))
        self.head = head(shape, classes)
        init_weights(self)

    def architecture(self) -> Mapping[str, nn.Parameter]:
        """The architecture parameters by kind of choice."""
        return dict(self.alphas.items())

    def architecture_parameters(self) -> list[nn.Parameter]:
        """What a search moves."""
        return list(self.alphas.values())

    def network_weights(self) -> list[nn.Parameter]:
        """What training moves."""
        moved = {id(alpha) for alpha in self.alphas.values()}
        return [parameter for parameter in self.parameters() if id(parameter) not in moved]

    def weights(self) -> dict[str, Tensor]:
        """The probabilities of the candidates by kind of choice, each of shape ``[choices, candidates]``."""
        return {kind: softmax(alpha) for kind, alpha in self.alphas.items()}

    def choices(self) -> Mapping[str, Sequence[Sequence[Choice]]]:
        """By kind, for each row its one choice."""
        found: dict[str, list[list[Choice]]] = {}
        for kind, choice in zip(self._kinds, self.slots, strict=True):
            assert isinstance(choice, Choice)
            found.setdefault(kind, []).append([choice])
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, channels_in, H, W)``."""
        logits: Tensor = self.head(self.slots(self.stem(x)))
        return logits


class _Row:
    """The probabilities of all choices of a kind. It names the supernet and is no part of it."""

    def __init__(self, supernet: ChainNet, kind: str) -> None:
        self._supernet, self._kind = (supernet,), kind

    def __call__(self) -> Tensor:
        return softmax(self._supernet[0].alphas[self._kind])


class ChainNetwork(nn.Sequential):
    """The network of an architecture: its blocks in a row, without those that a zero operation leaves out."""

    def __init__(self, shape: ChainShape, blocks: Sequence[str], classes: int, channels_in: int = 3) -> None:
        kept = [block(shape, slot, name) for slot, name in zip(shape.slots(), blocks, strict=True) if name != ZERO]
        super().__init__(stem(shape, channels_in), nn.Sequential(*kept), head(shape, classes))
        init_weights(self)

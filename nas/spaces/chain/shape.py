"""A chain as numbers: what can stand in each slot, and what is around them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nas.errors import GenotypeError
from nas.models.layers import make_divisible

ZERO, IDENTITY = "zero", "identity"
"""The candidates without filters: one leaves a residual alone and so its block out, the other is a 1x1 convolution where shapes change."""


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """An inverted bottleneck as a candidate.

    Attributes:
        kernel: of the convolution in its middle.
        expansion: by how much it widens.
        groups: of its two 1x1 convolutions; with more than one, channels are shuffled between them.
        widens: whether it has the first convolution where the expansion is one.
    """

    kernel: int
    expansion: int
    groups: int = 1
    widens: bool = False

    @property
    def name(self) -> str:
        """Such as ``"k5_e6"``."""
        return f"k{self.kernel}_e{self.expansion}{f'_g{self.groups}' if self.groups > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Stage:
    """Slots that make equally many channels; the first has the stride."""

    channels: int
    slots: int
    stride: int


@dataclass(frozen=True, slots=True)
class Slot:
    """What a block is given and what it makes.

    Attributes:
        name: its place, such as ``"2.0"``: stage and number.
        inputs: channels.
        outputs: channels.
        stride: of the convolution in its middle.
    """

    name: str
    inputs: int
    outputs: int
    stride: int

    @property
    def keeps_shape(self) -> bool:
        """Whether what it makes has the shape of what it is given, so that there is a residual."""
        return self.stride == 1 and self.inputs == self.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainShape:
    """A space of chains.

    Attributes:
        name: what to call it.
        source: the paper.
        stages: the slots in order.
        bottlenecks: the candidates of every slot.
        rest: the candidate without filters: `ZERO`, where there is a residual, or `IDENTITY`, in every slot.
        stem: channels of the first convolution.
        stem_stride: its stride.
        first: channels of a fixed bottleneck of expansion one after it; 0 for none.
        head: channels of the 1x1 convolution at the end.
        residuals: whether bottlenecks that keep the shape are added to their input.
        act: the activation.

    Raises:
        GenotypeError: there is no slot or no candidate, two candidates are alike, or a number is not above zero.
    """

    name: str
    source: str
    stages: tuple[Stage, ...]
    bottlenecks: tuple[Bottleneck, ...]
    rest: str = ZERO
    stem: int = 32
    stem_stride: int = 2
    first: int = 16
    head: int = 1280
    residuals: bool = True
    act: str = "relu6"

    def __post_init__(self) -> None:
        if not self.stages or not self.bottlenecks or self.rest not in (ZERO, IDENTITY):
            raise GenotypeError(f"a chain needs stages and bottlenecks, and {ZERO} or {IDENTITY} beside them")
        if len({each.name for each in self.bottlenecks}) != len(self.bottlenecks):
            raise GenotypeError(
                f"each bottleneck can be a candidate once, but they are {', '.join(each.name for each in self.bottlenecks)}"
            )
        numbers = [number for stage in self.stages for number in (stage.channels, stage.slots, stage.stride)]
        numbers += [number for each in self.bottlenecks for number in (each.kernel, each.expansion, each.groups)]
        if min(*numbers, self.stem, self.stem_stride, self.head) < 1 or self.first < 0:
            raise GenotypeError(f"the numbers of the chain {self.name!r} must be above zero")

    def slots(self) -> Iterator[Slot]:
        """The slots in order."""
        channels = self.first or self.stem
        for index, stage in enumerate(self.stages):
            for number in range(stage.slots):
                yield Slot(f"{index}.{number}", channels, stage.channels, 1 if number else stage.stride)
                channels = stage.channels

    def candidates(self, slot: Slot) -> tuple[str, ...]:
        """The names of what can stand in a slot."""
        names = tuple(each.name for each in self.bottlenecks)
        if self.rest == IDENTITY:
            return (IDENTITY, *names)
        return (*names, ZERO) if slot.keeps_shape else names

    def bottleneck(self, name: str) -> Bottleneck:
        """The candidate of that name.

        Raises:
            GenotypeError: there is none.
        """
        for each in self.bottlenecks:
            if each.name == name:
                return each
        raise GenotypeError(f"there is no block {name!r}; there are {', '.join(each.name for each in self.bottlenecks)}")

    def scaled(self, width: float, divisor: int = 8) -> ChainShape:
        """The same with all channels times a factor, to multiples of a divisor; the head is never narrower than it was."""

        def times(channels: int) -> int:
            return make_divisible(channels * width, divisor)

        stages = tuple(Stage(times(stage.channels), stage.slots, stage.stride) for stage in self.stages)
        head = times(self.head) if width > 1 else self.head
        return replace(self, stages=stages, stem=times(self.stem), first=times(self.first) if self.first else 0, head=head)


def _grid(kernels: tuple[int, ...], expansions: tuple[int, ...]) -> tuple[Bottleneck, ...]:
    return tuple(Bottleneck(kernel, expansion) for kernel in kernels for expansion in expansions)


_CAI = "Cai et al. 2019, arXiv:1812.00332, section 4.2"
PROXYLESS = ChainShape(
    name="proxyless", source=_CAI,
    stages=(Stage(24, 4, 2), Stage(40, 4, 2), Stage(80, 4, 2), Stage(96, 4, 1), Stage(192, 4, 2), Stage(320, 1, 1)),
    bottlenecks=_grid((3, 5, 7), (3, 6)),
)  # fmt: skip
"""21 slots on the backbone of MobileNetV2, for images of 224 pixels."""
CIFAR = replace(
    PROXYLESS, name="cifar", source=f"{_CAI}, for images of 32 pixels: three strides of two fewer", stem_stride=1,
    stages=(Stage(24, 4, 1), Stage(40, 4, 2), Stage(80, 4, 2), Stage(96, 4, 1), Stage(192, 4, 2), Stage(320, 1, 1)),
)  # fmt: skip
MACRO = ChainShape(
    name="macro", source="Su et al. 2021, arXiv:2103.11922, NAS-Bench-Macro",
    stages=(Stage(64, 2, 2), Stage(128, 3, 2), Stage(256, 3, 2)),
    bottlenecks=(Bottleneck(3, 3), Bottleneck(5, 6)), rest=IDENTITY, stem_stride=1, first=0,
)  # fmt: skip
FBNET = ChainShape(
    name="fbnet", source="Wu et al. 2019, arXiv:1812.03443, tables 1 and 2",
    stages=(Stage(16, 1, 1), Stage(24, 4, 2), Stage(32, 4, 2), Stage(64, 4, 2), Stage(112, 4, 1), Stage(184, 4, 2), Stage(352, 1, 1)),
    bottlenecks=tuple(
        Bottleneck(kernel, expansion, groups, widens=True) for kernel in (3, 5) for expansion, groups in ((1, 1), (1, 2), (3, 1), (6, 1))
    ),
    stem=16, first=0, head=1984, act="relu",
)  # fmt: skip
"""22 slots. A slot whose shape changes has no zero operation here; theirs has one, which the paper does not describe."""
MNASNET = ChainShape(
    name="mnasnet", source="Tan et al. 2019, arXiv:1807.11626, section 4.1, one choice for each layer instead of each stage",
    stages=(Stage(24, 4, 2), Stage(40, 4, 2), Stage(80, 4, 2), Stage(96, 4, 1), Stage(192, 4, 2), Stage(320, 1, 1)),
    bottlenecks=_grid((3, 5), (3, 6)), act="relu",
)  # fmt: skip
CHAINS = {shape.name: shape for shape in (PROXYLESS, CIFAR, MACRO, FBNET, MNASNET)}

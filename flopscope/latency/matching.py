"""Which blocks of mobile networks a graph is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from flopscope.graph import Graph, Op, Tensor
from flopscope.latency.block import BOTTLENECK, Block
from flopscope.rules import price

_CARRIERS = ("batch_norm", "dropout", "identity", "alias", "flatten", "view", "reshape", "contiguous")
"""What hands a value on, so that the next op of a block follows through it. Activations do too, but for the addition of a skip."""


def blocks_of(graph: Graph) -> tuple[list[Block], list[Op]]:
    """The blocks of a graph in the order in which they run, and the contractions that belong to none.

    A convolution by channel with the dense 1x1 convolutions before and after it is an inverted bottleneck; a 3x3 convolution of stride 2
    at the start, a 1x1 convolution elsewhere and a linear layer are blocks of their own. Norms, activations, additions and poolings are
    taken to be inside the blocks, as the tables measured them.
    """
    return _Matcher(graph).found()


class _Matcher:
    def __init__(self, graph: Graph) -> None:
        self.contractions = [op for op in graph.ops if op.kind in ("conv", "linear") or _is_contraction(op)]
        self.readers: dict[int, list[Op]] = {}
        for op in graph.ops:
            for value in op.inputs:
                self.readers.setdefault(value.id, []).append(op)
        self.producer = {value.id: op for op in graph.ops for value in op.outputs}

    def found(self) -> tuple[list[Block], list[Op]]:
        blocks: list[Block] = []
        others: list[Op] = []
        position = 0
        while position < len(self.contractions):
            taken = self._bottleneck(position) or self._single(position, not blocks)
            if taken is None:
                others.append(self.contractions[position])
                position += 1
            else:
                block, ops = taken
                blocks += [block] * self.contractions[position].times
                position += ops
        return blocks, others

    def _bottleneck(self, position: int) -> tuple[Block, int] | None:
        """One that starts here, and how many contractions it takes."""
        ops = self.contractions[position : position + 3]
        if len(ops) >= 2 and _by_channel(ops[0]):
            ops = ops[:2]
        elif len(ops) < 3 or not _by_channel(ops[1]) or not _pointwise(ops[0]):
            return None
        *_, depthwise, narrowing = ops
        first, last = ops[0].inputs[0], narrowing.outputs[0]
        if not _pointwise(narrowing) or not all(self._leads(one, other) for one, other in pairwise(ops)):
            return None
        wide, narrow, middle = _size(first), _size(last), depthwise.outputs[0].shape[1]
        kernel, stride = _square(depthwise.signature["weight"].shape[2:]), _square(depthwise.signature["stride"])
        plain = first.shape[0] == 1 and _square(depthwise.signature["dilation"]) == 1
        if wide is None or narrow is None or not kernel or not stride or not plain or middle % wide[2]:
            return None
        if narrow[:2] != tuple(-(-size // stride) for size in wide[:2]):
            return None
        skip = int(wide == narrow and self._added(last, first))
        return Block(BOTTLENECK, wide, narrow, middle // wide[2], kernel, stride, skip), len(ops)

    def _single(self, position: int, starts: bool) -> tuple[Block, int] | None:
        op = self.contractions[position]
        if op.kind == "linear":
            source, before = op.inputs[0].shape, self._pooled(op.inputs[0])
            if len(source) != 2 or source[0] != 1:
                return None
            return Block("Logits", before or (1, 1, source[1]), (op.outputs[0].shape[-1],)), 1
        wide, narrow = _size(op.inputs[0]), _size(op.outputs[0])
        if op.kind != "conv" or wide is None or narrow is None or op.inputs[0].shape[0] != 1:
            return None
        if _pointwise(op):
            return Block("Conv_1" if wide[:2] != (1, 1) else "Conv_2", wide, narrow), 1
        kernel, stride = _square(op.signature["weight"].shape[2:]), _square(op.signature["stride"])
        if starts and kernel == 3 and stride == 2 and op.signature.get("groups", 1) == 1:
            return Block("Conv", wide, narrow), 1
        return None

    def _leads(self, one: Op, other: Op) -> bool:
        """Whether the second reads what the first made, after norms and activations and nothing else."""
        return any(op is one for op in self._origins(other.inputs[0]))

    def _origins(self, value: Tensor) -> Iterator[Op]:
        """The ops that a value comes from, back through ops of one tensor that keep its shape."""
        op = self.producer.get(value.id)
        while op is not None:
            yield op
            data = _data_of(op)
            if len(data) != 1 or data[0].shape != op.outputs[0].shape or _is_contraction(op):
                return
            op = self.producer.get(data[0].id)

    def _added(self, last: Tensor, first: Tensor) -> bool:
        """Whether a value, after a norm, is added to another."""
        value = last
        while True:
            readers = self.readers.get(value.id, [])
            if any(op.kind == "add" and any(read.id == first.id for read in op.inputs) for op in readers):
                return True
            following = [op for op in readers if op.kind in _CARRIERS]
            if len(following) != 1:
                return False
            value = following[0].outputs[0]

    def _pooled(self, value: Tensor) -> tuple[int, ...] | None:
        """The size of what was pooled to make a value."""
        op = self.producer.get(value.id)
        while op is not None:
            data = _data_of(op)
            if len(data) != 1 or _is_contraction(op):
                return None
            size = _size(data[0])
            if size is not None and size[:2] != (1, 1):
                return size
            op = self.producer.get(data[0].id)
        return None


def _is_contraction(op: Op) -> bool:
    """Whether an op does the work of a block. One without a rule may."""
    cost = price(op.signature)
    return cost is None or cost.macs > 0


def _data_of(op: Op) -> Sequence[Tensor]:
    return [value for value in op.inputs if value.role not in ("parameter", "buffer")]


def _by_channel(op: Op) -> bool:
    groups = op.signature.get("groups", 1) if op.kind == "conv" else 1
    return groups > 1 and groups == op.inputs[0].shape[1] == op.outputs[0].shape[1]


def _pointwise(op: Op) -> bool:
    return (
        op.kind == "conv"
        and op.signature.get("groups", 1) == 1
        and all(size == 1 for size in op.signature["weight"].shape[2:])
        and _square(op.signature["stride"]) == 1
    )


def _size(value: Tensor) -> tuple[int, int, int] | None:
    """Height, width and channels of a batch of images."""
    if len(value.shape) != 4:
        return None
    _, channels, height, width = value.shape
    return height, width, channels


def _square(sizes: Sequence[int]) -> int:
    """The size on both sides, or 0 where they differ."""
    values = set(sizes)
    return values.pop() if len(values) == 1 else 0

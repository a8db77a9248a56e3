"""Named ways to add the counts up, so that a number from elsewhere can be compared with ours.

Each convention is a table from kinds of op to what they count besides the multiply-accumulates of contractions. Its version changes when
a number that it gives changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flopscope.analyses.totals import cost_of
from flopscope.errors import OptionError
from flopscope.graph import Graph, Signature


@dataclass(frozen=True, slots=True)
class Convention:
    """A way to add counts up: all multiply-accumulates, and ``extras`` for the kinds named there."""

    name: str
    version: int
    text: str
    extras: Mapping[str, Callable[[Signature], int]]
    skips: Callable[[Signature], bool] = lambda _: False
    """The calls whose multiply-accumulates it leaves out."""

    def count(self, signature: Signature) -> int:
        """What one call counts."""
        extra = None if signature.effect == "view" else self.extras.get(signature.kind)
        macs = 0 if self.skips(signature) else cost_of(signature).macs
        return macs + (extra(signature) if extra is not None else 0)


def _fvcore_norm(op: Signature) -> int:
    return op.inputs[0].elements * (5 if op.get("weight") is not None else 4)


def _fvcore_batch_norm(op: Signature) -> int:
    if op.get("training", False):
        return _fvcore_norm(op)
    return op.inputs[0].elements * (2 if op.get("weight") is not None else 1)


def _fvcore_skips(op: Signature) -> bool:
    """Fvcore has no handle for recurrent layers, nor for ``aten::_convolution_mode``, which convolutions with ``padding="same"`` become."""
    return op.kind in ("lstm", "gru", "rnn") or isinstance(op.get("padding"), str)


def _of_target(target: str, count: Callable[[Signature], int]) -> Callable[[Signature], int]:
    return lambda op: count(op) if op.target == target else 0


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention("contraction", 1, "multiply-accumulates of convolutions, matrix products and attention; nothing else", {}),
        Convention(
            "fvcore",
            1,
            "fvcore 0.1.5 on a model whose attention is written as matrix products: multiply-accumulates; batch norm 2 per element "
            "(1 without weights), layer, group and instance norm 5 (4); adaptive average pooling 1 per input; nearest 1 and bilinear 4 per "
            "output; recurrent layers and convolutions with padding='same' are left out",
            {
                "batch_norm": _fvcore_batch_norm,
                "layer_norm": _fvcore_norm,
                "group_norm": _fvcore_norm,
                "instance_norm": _fvcore_norm,
                "adaptive_avg_pool": _of_target("aten::adaptive_avg_pool2d", lambda op: op.inputs[0].elements),
                "upsample_nearest": _of_target("aten::upsample_nearest2d", lambda op: op.output.elements),
                "upsample_linear": _of_target("aten::upsample_bilinear2d", lambda op: 4 * op.output.elements),
                "grid_sampler": lambda op: 4 * op.output.elements,
            },
            _fvcore_skips,
        ),
    )
}


def convention(name: str) -> Convention:
    """The convention of that name.

    Raises:
        OptionError: there is none.
    """
    if name not in CONVENTIONS:
        raise OptionError(f"there is no convention {name!r}; choose one of {', '.join(sorted(CONVENTIONS))}")
    return CONVENTIONS[name]


def count_under(graph: Graph, name: str) -> int:
    """What a graph costs under a convention.

    Raises:
        OptionError: there is no such convention.
    """
    chosen = convention(name)
    return sum(chosen.count(op.signature) for op in graph.ops)

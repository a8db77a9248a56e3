"""Conventions of no tool: contractions alone, papers, everything, and the counts printed beside the DARTS family."""

from __future__ import annotations

from flopscope.analyses.conventions.base import Call, Convention, Line, every, nothing

CONTRACTION = Convention("contraction", 1, "MACs", "", "multiply-accumulates of convolutions, matrix products and attention; nothing else")

_FOLDABLE = ("conv", "conv_transpose", "linear", "addmm")


def _unfolded(call: Call) -> int:
    """A batch norm in evaluation scales and shifts each element, which a convolution or linear layer before it takes into its weights."""
    before = call.producer
    return 0 if before is not None and before.kind in _FOLDABLE else call.elements_in


PAPER = Convention(
    "paper", 1, "MACs", "",
    "multiply-accumulates as papers print them for a network that is deployed: batch norm folded into the convolution or linear "
    "layer before "
    "it (1 per element where there is none), no bias, no activations, no pooling",
    kinds=every("batch_norm batch_norm_inference", Line(_unfolded, "batch norm: 1 per element where nothing folds it")),
)  # fmt: skip

FULL = Convention(
    "full", 1, "FLOPs", "",
    "every operation, by the rule of each op: 2 per multiply-accumulate, plus biases, normalisation, activations, pooling, softmax, "
    "elementwise arithmetic and reductions",
    otherwise=Line(lambda call: call.cost.flops, "all operations of the op"),
)  # fmt: skip

_ONE_PER_ELEMENT = Line(lambda call: call.elements_in, "activation: 1 per element")

DARTS = Convention(
    "darts", 1, "MACs", "",
    "as P-DARTS and PC-DARTS print their ImageNet models (557M; 586M and 597M): multiply-accumulates of convolutions and linear layers, 2 "
    "per element that enters a batch norm, 1 per element that enters a ReLU; pooling, additions and bias nothing. (No release of "
    "thop counts "
    "so: 0.0.22, the first, takes 4 per element of a batch norm, twice the products of a linear layer, and counts pooling too)",
    kinds={
        **every("conv conv_transpose linear addmm", Line(lambda call: call.macs, "multiply-accumulates")),
        **every("batch_norm batch_norm_inference", Line(lambda call: 2 * call.elements_in, "batch norm: 2 per element")),
        **every("relu relu6", _ONE_PER_ELEMENT),
    },
    otherwise=nothing("not counted: only convolutions, linear layers, batch norm and ReLU are"),
)  # fmt: skip

PLAIN = (CONTRACTION, PAPER, FULL, DARTS)

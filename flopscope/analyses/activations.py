"""Activations: the elements that a model's layers write, in the named ways of other tools.

What counts as an activation is as much a matter of convention as what counts as an operation, so each way has a name and a version.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flopscope.analyses.torch_names import as_torch
from flopscope.errors import OptionError
from flopscope.graph import Graph, Signature


@dataclass(frozen=True, slots=True)
class ActivationConvention:
    """Which outputs are counted: ``counts`` says, for each kind of op, how many elements of a call are activations."""

    name: str
    version: int
    text: str
    counts: Mapping[str, Callable[[Signature], int]]

    def count(self, signature: Signature) -> int:
        """The activations of one call, in elements."""
        found = self.counts.get(signature.kind)
        return 0 if found is None or signature.effect == "view" else found(signature)


def _written(op: Signature) -> int:
    return op.output.elements


def _traced_convolution(op: Signature) -> int:
    """With ``padding="same"`` a convolution is recorded as ``aten::_convolution_mode``, for which fvcore has no handle."""
    return 0 if isinstance(op.get("padding"), str) else op.output.elements


def _product(op: Signature) -> int:
    """Of the products with two factors, fvcore has handles for these."""
    return op.output.elements if op.target in ("aten::matmul", "aten::bmm") else 0


def _addmm(op: Signature) -> int:
    return op.output.elements if op.target == "aten::addmm" else 0


def _attention(op: Signature) -> int:
    """The scores ``[.., l, s]`` and the weighted values ``[.., l, e]``: the outputs of the two products."""
    scores: int = math.prod(op["query"].shape[:-1]) * op["key"].shape[-2]
    return scores + op.output.elements


ACTIVATION_CONVENTIONS = {
    convention.name: convention
    for convention in (
        ActivationConvention(
            "conv",
            1,
            "the elements that convolutions write (Radosavovic et al. 2020, arXiv:2003.13678, section 3.1)",
            dict.fromkeys(("conv", "conv_transpose", "conv_tbc", "deform_conv"), _written),
        ),
        ActivationConvention(
            "fvcore",
            1,
            "ActivationCountAnalysis of fvcore 0.1.5 on a model whose attention is written as matrix products: the elements that "
            "convolutions, linear layers, matmul, bmm, addmm and einsum write; convolutions with padding='same' are left out",
            {
                "conv": _traced_convolution,
                "conv_transpose": _written,
                "linear": _written,
                "matmul": _product,
                "addmm": _addmm,
                "einsum": _written,
                "attention": _attention,
            },
        ),
    )
}


def activations_under(graph: Graph, name: str) -> int:
    """How many activations a graph has under a convention, in elements.

    Raises:
        OptionError: there is no such convention.
    """
    if name not in ACTIVATION_CONVENTIONS:
        raise OptionError(f"there is no convention {name!r} for activations; choose one of {', '.join(sorted(ACTIVATION_CONVENTIONS))}")
    chosen = ACTIVATION_CONVENTIONS[name]
    return sum(chosen.count(as_torch(op.signature)) * op.times for op in graph.ops)

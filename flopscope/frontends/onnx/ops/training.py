"""Losses and optimisers."""

from __future__ import annotations

from flopscope.frontends.onnx.ops.table import TRAINING, lowers
from flopscope.frontends.onnx.values import Call


@lowers("NegativeLogLikelihoodLoss")
def likelihood(call: Call) -> None:
    """``[] = loss([n, c, *], [n, *], [c]?)``."""
    call.add("nll_loss", call.out, input=call[0], target=call[1], weight=call.get(2))


@lowers("SoftmaxCrossEntropyLoss")
def cross_entropy(call: Call) -> None:
    """``[], [n, c, *] = loss([n, c, *], [n, *], [c]?)``: the log of the softmax is a result too."""
    call.add("cross_entropy_loss", call.outputs, input=call[0], target=call[1], weight=call.get(2))


@lowers("Adagrad", "Adam", "Momentum", domain=TRAINING)
def optimiser(call: Call) -> None:
    """``X, G, states -> X, states`` after a rate and a step number, each a list of tensors."""
    lists = {"Adagrad": 3, "Adam": 4, "Momentum": 3}[call.op]
    tensors = call.inputs[2:]
    size = len(tensors) // lists
    parts = [tuple(tensors[size * i : size * (i + 1)]) for i in range(lists)]
    kind = {"Adagrad": "_fused_adagrad", "Adam": "_fused_adam", "Momentum": "_fused_sgd"}[call.op]
    call.add(
        kind, call.outputs, self=parts[0], grads=parts[1], states=sum(parts[2:], ()), lr=call[0], step=call[1],
        weight_decay=call.attr("norm_coefficient", 0.0), momentum=call.op == "Momentum", nesterov=call.attr("mode") == "nesterov",
    )  # fmt: skip

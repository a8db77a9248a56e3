"""Contrib ops that models hold while they are trained."""

from __future__ import annotations

from flopscope.frontends.onnx.ops.layers import softmax
from flopscope.frontends.onnx.ops.table import CONTRIB, lowers, plain
from flopscope.frontends.onnx.values import Call

plain(
    {
        "ReluGrad": "threshold_backward", "GeluGrad": "gelu_backward", "FastGeluGrad": "gelu_backward", "SigmoidGrad": "sigmoid_backward",
        "TanhGrad": "tanh_backward", "SoftmaxGrad": "_softmax_backward_data", "SoftmaxGrad_13": "_softmax_backward_data",
        "LogSoftmaxGrad": "_log_softmax_backward_data",
    },
    CONTRIB,
)  # fmt: skip


@lowers("DropoutGrad", domain=CONTRIB)
def dropout_grad(call: Call) -> None:
    """``g * mask / (1 - p)``."""
    call.add("native_dropout_backward", call.out, grad_output=call[0], mask=call[1])


@lowers("SoftmaxCrossEntropyLossInternal", domain=CONTRIB)
def cross_entropy(call: Call) -> None:
    """The logarithms of the probabilities, and the mean of those of the labels."""
    scores = call[0]
    logarithms = call.outputs[1] if len(call.outputs) > 1 and call.outputs[1] is not None else call.between(scores.shape, scores.dtype)
    inner = Call("", "LogSoftmax", 13, {"axis": 1}, [scores], [logarithms], call.pieces)
    softmax(inner)
    call.add("nll_loss", call.out, input=logarithms, target=call[1], weight=call.get(2))


@lowers("SoftmaxCrossEntropyLossGrad", "SoftmaxCrossEntropyLossInternalGrad", domain=CONTRIB)
def cross_entropy_grad(call: Call) -> None:
    """``(exp(log p) - onehot) g``: as the backward of a logarithmic softmax."""
    call.add("_log_softmax_backward_data", call.out, grad_output=call[0], output=call[1], target=call[2])


@lowers("InPlaceAccumulatorV2", domain=CONTRIB)
def accumulate(call: Call) -> None:
    """``sum += value``."""
    flag, total = call.outputs[0], call.outputs[1] if len(call.outputs) > 1 else None
    call.add("add", total or call.between(call[0].shape, call[0].dtype), input=call[0], other=call[1])
    if flag is not None:
        call.add("full", flag)

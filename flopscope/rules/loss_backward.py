"""Gradients of loss functions, and connectionist temporal classification."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, rule

FLOPS_PER_ELEMENT = {
    "mse_loss_backward": 3,  # 2 / n * (x - y) * g
    "smooth_l1_loss_backward": 5,  # x - y, two comparisons, / beta, * g
    "huber_loss_backward": 5,  # x - y, two comparisons, * delta, * g
    "binary_cross_entropy_backward": 6,  # g * (x - y) / max(x * (1 - x), eps)
    "soft_margin_loss_backward": 6,  # z = exp(-y * x), -y * z / (z + 1) * g
    "multi_margin_loss_backward": 4,  # margin - x[y] + x[i], compare, g
    "multilabel_margin_loss_backward": 4,
}


@rule(
    *FLOPS_PER_ELEMENT, flops="per element, as listed in FLOPS_PER_ELEMENT; 1 for weights",
    source="derivatives of the formulas in the PyTorch documentation of torch.nn",
)  # fmt: skip
def loss_backward(op: Signature) -> Cost:
    """``[*] = loss_backward(g, [*], [*])``."""
    weighted = op.get("weight") is not None
    return count(op, other=(FLOPS_PER_ELEMENT[op.kind] + weighted) * op["self"].elements)


@rule("nll_loss_backward", "nll_loss2d_backward", flops="2 per row: a change of sign and a division", source="derivative of -x[y] / n")
def nll_backward(op: Signature) -> Cost:
    """``[n, c, *] = nll_loss_backward(g, [n, c, *], [n, *])``: zeros but for one element per row; the scores are not read."""
    target = op["target"]
    reads = [(type.elements, type) for type in op.read if type is not op["self"]]
    return count(op, other=2 * target.elements, reads=reads)


_STATE = 13
"""One state and step: the sum of three in logarithms (2 comparisons, 3 differences, 3 exp, 2 sums, log, sum), and a log-probability added."""
_CTC_SOURCE = "Graves et al. 2006, Connectionist Temporal Classification, eqs. 6 to 16"


def _states(op: Signature) -> int:
    """Steps times states (labels with blanks between them), summed over the batch; where lengths are data, the longest."""
    scores, targets = op["log_probs"], op["targets"]
    steps, lengths = op["input_lengths"], op["target_lengths"]
    batch = scores.shape[1] if len(scores.shape) == 3 else 1
    if isinstance(steps, tuple) and isinstance(lengths, tuple):
        return sum(step * (2 * length + 1) for step, length in zip(steps, lengths, strict=True))
    labels = targets.elements if len(targets.shape) == 1 else batch * targets.shape[-1]
    return scores.shape[0] * (2 * labels + batch)  # type: ignore[no-any-return]


@rule(
    "ctc_loss", "_ctc_loss", "_cudnn_ctc_loss", "miopen_ctc_loss",
    flops="13 per step and state of the forward variable: a sum of three in logarithms; lengths that are data count as the longest", source=_CTC_SOURCE,
)  # fmt: skip
def ctc(op: Signature) -> Cost:
    """``[] = ctc_loss([t, n, c], [n, s], [n], [n])``."""
    return count(op, other=_STATE * _states(op))


@rule(
    "_ctc_loss_backward",
    flops="13 per step and state of the backward variable, 5 to sum both per class, 3 per score", source=_CTC_SOURCE,
)  # fmt: skip
def ctc_backward(op: Signature) -> Cost:
    """``[t, n, c] = ctc_loss_backward(g, [t, n, c], [n, s], [n], [n], ...)``."""
    return count(op, other=(_STATE + 5) * _states(op) + 3 * op["log_probs"].elements)

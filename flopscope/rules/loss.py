"""Loss functions: operations per element of the formula in the documentation of each, and 1 per element for the reduction."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, prod, rule
from flopscope.rules.sizes import broadcast, largest
from flopscope.rules.softmax import SOFTMAX_FLOPS

FLOPS_PER_ELEMENT = {
    "mse_loss": 2,  # (x - y)^2
    "l1_loss": 2,  # |x - y|
    "smooth_l1_loss": 5,  # compare, 0.5 * (x - y)^2 / beta
    "huber_loss": 5,  # compare, 0.5 * (x - y)^2
    "binary_cross_entropy": 7,  # -(y * log(x) + (1 - y) * log(1 - x))
    "binary_cross_entropy_with_logits": 7,  # max(x, 0) - x * y + log(1 + exp(-|x|))
    "kl_div": 3,  # y * (log(y) - x)
    "poisson_nll_loss": 3,  # exp(x) - y * x
    "soft_margin_loss": 4,  # log(1 + exp(-y * x))
    "margin_ranking_loss": 4,  # max(0, -y * (a - b) + margin)
    "hinge_embedding_loss": 3,  # compare, max(0, margin - x)
    "multi_margin_loss": 3,  # max(0, margin - x[y] + x[i])
    "multilabel_margin_loss": 3,
    "multilabel_margin_loss_forward": 3,
}


@rule(
    *FLOPS_PER_ELEMENT,
    flops="per element, as listed in FLOPS_PER_ELEMENT; 1 for the reduction",
    source="the formulas in the PyTorch documentation of torch.nn",
)
def loss(op: Signature) -> Cost:
    """``[] = loss([*], [*])``, broadcast, reduced or not."""
    ranks = max(len(type.shape) for type in op.inputs)
    shapes = [(1,) * (ranks - len(type.shape)) + type.shape for type in op.inputs[:2]]
    elements = prod(broadcast(*sizes) for sizes in zip(*shapes, strict=True))
    reduced = 1 if len(op.output.shape) == 0 else 0
    return count(op, other=(FLOPS_PER_ELEMENT[op.kind] + reduced) * elements)


@rule("cross_entropy_loss", flops="5 per class for the log softmax, 2 per row", source="PyTorch documentation of torch.nn.CrossEntropyLoss")
def cross_entropy(op: Signature) -> Cost:
    """``[] = cross_entropy([n, c, *], [n, *])``."""
    x = op.inputs[0]
    return count(op, other=SOFTMAX_FLOPS * x.elements + 2 * op.inputs[1].elements)


@rule(
    "nll_loss",
    "nll_loss_nd",
    "nll_loss2d",
    "nll_loss_forward",
    "nll_loss2d_forward",
    flops="2 per row",
    source="PyTorch documentation of torch.nn.NLLLoss",
)
def nll(op: Signature) -> Cost:
    """``[] = nll_loss([n, c, *], [n, *])``: one element of each row is read."""
    rows = op.inputs[1].elements
    return count(op, other=2 * rows, reads=[(rows, op.inputs[0]), (rows, op.inputs[1])])


@rule("cosine_embedding_loss", flops="6 per element, 6 per row", source="PyTorch documentation of torch.nn.CosineEmbeddingLoss")
def cosine_embedding(op: Signature) -> Cost:
    """``[] = cosine_embedding_loss([n, d], [n, d], [n])``."""
    x = op.inputs[0]
    return count(op, other=6 * x.elements + 6 * prod(x.shape[:-1]))


@rule(
    "triplet_margin_loss",
    flops="3 per element of each of two distances, 4 per row",
    source="PyTorch documentation of torch.nn.TripletMarginLoss",
)
def triplet_margin(op: Signature) -> Cost:
    """``[] = triplet_margin_loss([n, d], [n, d], [n, d])``."""
    x = op.inputs[0]
    return count(op, other=6 * x.elements + 4 * prod(x.shape[:-1]))


@rule("pairwise_distance", flops="3 per element, 1 per row for the root", source="PyTorch documentation of torch.nn.PairwiseDistance")
def pairwise_distance(op: Signature) -> Cost:
    """``[n] = pairwise_distance([n, d], [n, d])``."""
    return count(op, other=3 * largest(*(type.elements for type in op.inputs)) + op.output.elements)


@rule(
    "torch_nn::_linear_cross_entropy_batch_chunked", "torch_nn::_linear_cross_entropy_batch_chunked_no_reduction",
    flops="2 per MAC of the linear layer and of each gradient that is made with it; per score 5 for the log softmax, 1 for a bias, 3 for gradients; 2 per row",
    source="PyTorch documentation of torch.nn.Linear and torch.nn.CrossEntropyLoss",
)  # fmt: skip
def linear_cross_entropy(op: Signature) -> Cost:
    """``[] = cross_entropy(linear([n, d], [c, d], [c]?), [n])``, a chunk of rows at a time."""
    x, weight = op["input"], op["linear_weight"]
    rows = prod(x.shape[:-1])
    scores = rows * prod(weight.shape[:-1])
    gradients = sum(bool(op.get(name, False)) for name in ("compute_input_grad", "compute_linear_weight_grad"))
    wants_bias = bool(op.get("compute_linear_bias_grad", False))
    per_score = SOFTMAX_FLOPS + (op.get("linear_bias") is not None) + (3 if gradients or wants_bias else 0) + wants_bias
    return count(op, macs=(1 + gradients) * scores * x.shape[-1], other=per_score * scores + 2 * rows)

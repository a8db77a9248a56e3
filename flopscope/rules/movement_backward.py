"""Gradients of ops that move, pool or resample elements: what was read is written to, and what was read twice is added up."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature, TensorType
from flopscope.rules.pooling import adaptive_reads, window
from flopscope.rules.registry import count, prod, rule
from flopscope.rules.resampling import antialias_flops

_DEFINITION = "the chain rule: what was read is written to"


def _gradient(op: Signature) -> TensorType:
    """The gradient that arrives, which comes first but for the kernels that name it."""
    return op.get("grad_output") or op.read[0]


@rule(
    "select_backward", "slice_backward", "diagonal_backward", "trace_backward", "value_selecting_reduction_backward", "masked_scatter_backward",
    "masked_select_backward", "_nested_select_backward", "_nested_sum_backward", "_pack_padded_sequence_backward", "to_dense_backward",
    "to_mkldnn_backward",
    flops="none: the gradient is put where the elements came from", source=_DEFINITION,
)  # fmt: skip
def put_back(op: Signature) -> Cost:
    """``x = backward(g)``: zeros but for the gradient; only the gradient and positions are read, and the whole result is written."""
    like = {"input", "self"} & op.arguments.keys()
    reads = [(t.elements, t) for name, t in op.arguments.items() if isinstance(t, TensorType) and name not in like | set(op.written_only)]
    return count(op, reads=reads)


@rule(
    "index_select_backward", "gather_backward", "unfold_backward", "embedding_dense_backward", "embedding_backward", "embedding_sparse_backward",
    "cummaxmin_backward", "reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward", "replication_pad1d_backward",
    "replication_pad2d_backward", "replication_pad3d_backward", "upsample_nearest1d_backward", "upsample_nearest2d_backward",
    "upsample_nearest3d_backward", "_upsample_nearest_exact1d_backward", "_upsample_nearest_exact2d_backward",
    "_upsample_nearest_exact3d_backward", "max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward", "max_pool2d_backward",
    "mkldnn_max_pool2d_backward", "mkldnn_max_pool3d_backward", "adaptive_max_pool2d_backward", "adaptive_max_pool3d_backward",
    "fractional_max_pool2d_backward", "fractional_max_pool3d_backward", "_segment_reduce_backward", "torchvision::_roi_pool_backward",
    flops="1 addition per element of the gradient that arrives", source=_DEFINITION,
)  # fmt: skip
def add_back(op: Signature) -> Cost:
    """``x = backward(g)``: every element of g is added to the element that it came from."""
    return count(op, other=_gradient(op).elements)


@rule(
    "cumprod_backward",
    flops="3 per element: a product, a reversed running sum, a division",
    source="derivative of a running product of non-zeros",
)
def cumprod_backward(op: Signature) -> Cost:
    """``x = cumprod_backward(g, x, dim, y)``."""
    return count(op, other=3 * _gradient(op).elements)


@rule(
    "avg_pool2d_backward",
    "avg_pool3d_backward",
    flops="per element of g a division, and k additions; k elements in a window",
    source=_DEFINITION,
)
def avg_pool_backward(op: Signature) -> Cost:
    """``[n, c, *s] = avg_pool_backward([n, c, *s'], [n, c, *s], k)``: the input is not read."""
    gradient = op["grad_output"]
    return count(op, other=(window(op) + 1) * gradient.elements, reads=[(gradient.elements, gradient)])


@rule(
    "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "adaptive_avg_pool3d_backward", "mkldnn_adaptive_avg_pool2d_backward",
    flops="a division per element of g, an addition per element of all windows", source=_DEFINITION,
)  # fmt: skip
def adaptive_avg_pool_backward(op: Signature) -> Cost:
    """``[n, c, *s] = adaptive_avg_pool_backward([n, c, *s'], [n, c, *s])``: the input is not read."""
    gradient = op["grad_output"]
    other = gradient.elements + adaptive_reads(op, op["self"], gradient)
    return count(op, other=other, reads=[(gradient.elements, gradient)])


@rule(
    "upsample_linear1d_backward", "upsample_bilinear2d_backward", "upsample_trilinear3d_backward", "upsample_bicubic2d_backward",
    flops="per element of g a product and an addition for each of 2^d neighbours in d dimensions (16 where cubic)", source=_DEFINITION,
)  # fmt: skip
def upsample_backward(op: Signature) -> Cost:
    """``[n, c, *s] = upsample_backward([n, c, *s'])``."""
    gradient = op["grad_output"]
    neighbours = 16 if "cubic" in op.kind else 2 ** (len(gradient.shape) - 2)
    return count(op, other=2 * neighbours * gradient.elements)


@rule(
    "_upsample_bilinear2d_aa_backward", "_upsample_bicubic2d_aa_backward", "_upsample_lanczos2d_aa_backward",
    flops="as the antialiased interpolation: 2 per tap, two separable passes", source=_DEFINITION,
)  # fmt: skip
def antialias_backward(op: Signature) -> Cost:
    """``[n, c, h, w] = upsample_antialias_backward([n, c, h', w'])``."""
    return count(op, other=antialias_flops(op.kind, op.output.shape, op["grad_output"].shape))


@rule(
    "grid_sampler_2d_backward", "grid_sampler_3d_backward", "_grid_sampler_2d_cpu_fallback_backward", "cudnn_grid_sampler_backward",
    flops="per element of g and neighbour (2^d; 16 cubic; 1 nearest): 2 for the input, 2 d + 1 for the grid (none if nearest); per position and dimension 8",
    source="Jaderberg et al. 2015, arXiv:1506.02025, eqs. 6 and 7",
)  # fmt: skip
def grid_sampler_backward(op: Signature) -> Cost:
    """``[n, c, *s], [n, *s', d] = grid_sampler_backward([n, c, *s'], [n, c, *s], [n, *s', d])``."""
    gradient, dims = op["grad_output"], op["grid"].shape[-1]
    mode = op.get("interpolation_mode", 0)
    of_input = bool(op.get("output_mask", (True, True))[0])
    neighbours = (2**dims, 1, 16)[mode]
    per_neighbour = 2 * of_input + (0 if mode == 1 else 2 * dims + 1)
    positions = prod(op["grid"].shape[:-1])
    return count(op, other=neighbours * per_neighbour * gradient.elements + 8 * dims * positions)


@rule(
    "torchvision::_roi_align_backward", "torchvision::_ps_roi_align_backward",
    flops="per element of g and sample (sampling_ratio^2 of a bin, 4 where it is adaptive) a product and an addition for each of 4 corners",
    source="He et al. 2017, arXiv:1703.06870, section 3, derived",
)  # fmt: skip
def roi_align_backward(op: Signature) -> Cost:
    """``[n, c, h, w] = roi_align_backward([k, c, ph, pw], [k, 5])``."""
    ratio = op.get("sampling_ratio", -1)
    return count(op, other=8 * (ratio * ratio if ratio > 0 else 4) * op["grad"].elements)


@rule(
    "torchvision::_ps_roi_pool_backward",
    flops="a division per element of g, an addition per element of its bin: an upper bound, as if every region covered the image",
    source="Dai et al. 2016, arXiv:1605.06409, eq. 1, derived",
)
def ps_roi_pool_backward(op: Signature) -> Cost:
    """``[n, c, h, w] = ps_roi_pool_backward([k, c', ph, pw], [k, 5])``."""
    regions, channels = op["grad"].shape[:2]
    return count(op, other=op["grad"].elements + regions * channels * op["height"] * op["width"])


@rule(
    "_embedding_bag_backward", "_embedding_bag_dense_backward", "_embedding_bag_sparse_backward",
    flops="1 addition per looked-up element; 1 product where it was weighted or averaged", source="derivative of a sum of rows",
)  # fmt: skip
def embedding_bag_backward(op: Signature) -> Cost:
    """``[v, d] = embedding_bag_backward([b, d], [l], ...)``."""
    looked_up = op["indices"].elements * op["grad"].shape[-1]
    scaled = op.get("per_sample_weights") is not None or op.get("mode", 0) == 1
    return count(op, other=(1 + scaled) * looked_up)


@rule(
    "_embedding_bag_per_sample_weights_backward",
    flops="2 per looked-up element: a product and an addition",
    source="derivative of a weighted sum of rows",
)
def per_sample_weights_backward(op: Signature) -> Cost:
    """``[l] = per_sample_weights_backward([b, d], [v, d], [l], ...)``: each weight is the product of a row and a gradient."""
    looked_up = op["indices"].elements * op["grad"].shape[-1]
    reads = [(looked_up, op["weight"]), *((type.elements, type) for type in op.read if type is not op["weight"])]
    return count(op, other=2 * looked_up, reads=reads)

"""Ops that move elements: reshapes, slices, lookups, padding, resizing; and those that make constants."""

from __future__ import annotations

from flopscope.frontends.onnx.ops.table import lowers, plain
from flopscope.frontends.onnx.values import Call

plain({
    "Transpose": "permute", "Concat": "cat", "Split": "split", "Expand": "expand", "Tile": "tile", "Slice": "slice", "Pad": "pad",
    "DepthToSpace": "pixel_shuffle", "SpaceToDepth": "pixel_unshuffle", "ReverseSequence": "flip", "Trilu": "tril",
    "Compress": "masked_select",
    "CenterCropPad": "slice", "Col2Im": "col2im",
})  # fmt: skip


@lowers("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Optional", "OptionalGetElement")
def view(call: Call) -> None:
    """The same elements under another shape."""
    call.add("view", call.out, view=True, input=call[0])


@lowers("Shape", "Size", "OptionalHasElement", "SequenceLength")
def fact(call: Call) -> None:
    """A fact about a value, no element of it."""
    call.add("size", call.out, input=call.get(0))


@lowers("ConstantOfShape", "EyeLike", "Constant")
def constant(call: Call) -> None:
    """Constants are written."""
    call.add("full", call.out)


@lowers("Range")
def sequence(call: Call) -> None:
    """``[n] = start, start + delta, ...``."""
    call.add("arange", call.out)


@lowers("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")
def draw(call: Call) -> None:
    """Random numbers."""
    if call.op in ("Bernoulli", "Multinomial"):
        call.add("bernoulli", call.out, input=call[0])
    else:
        call.add("uniform", call.out)


@lowers("Gather")
def gather(call: Call) -> None:
    """``out = source[.., indices, ..]``: of a weight along the first dimension, an embedding."""
    if call[0].constant and call.attr("axis", 0) == 0:
        call.add("embedding", call.out, weight=call[0], indices=call[1])
    else:
        call.add("index_select", call.out, input=call[0], index=call[1], dim=call.attr("axis", 0))


@lowers("GatherElements", "GatherND")
def gather_elements(call: Call) -> None:
    """``out = source[indices]``."""
    call.add("gather", call.out, input=call[0], index=call[1])


@lowers("ScatterElements", "Scatter", "ScatterND", "TensorScatter")
def scatter(call: Call) -> None:
    """``out = source``, with ``updates`` at the indices."""
    combines = call.attr("reduction", "none") not in ("none", b"none", "", None)
    if call.op == "TensorScatter":
        call.add("slice_scatter", call.out, input=call[0], src=call[1])
    elif call.op == "ScatterND":
        index = call[1]
        parts = [call.between(index.shape[:-1], index.dtype) for _ in range(index.shape[-1])]
        call.add("unbind", parts, view=True, input=index)
        call.add("index_put", call.out, input=call[0], indices=tuple(parts), values=call[2], accumulate=combines)
    else:
        call.add("scatter_reduce" if combines else "scatter", call.out, input=call[0], index=call[1], src=call[2], dim=call.attr("axis", 0))


@lowers("OneHot")
def one_hot(call: Call) -> None:
    """``[*, depth] = OneHot([*], depth, [off, on])``."""
    call.add("one_hot", call.out, input=call[0])


@lowers("NonZero")
def nonzero(call: Call) -> None:
    """``[r, n] = positions``: every element is compared with zero."""
    call.add("nonzero", call.out, input=call[0])


@lowers("TopK")
def topk(call: Call) -> None:
    """``[*, k], [*, k] = TopK([*, n], k)``."""
    call.add("topk", call.outputs, input=call[0], k=call.out.shape[call.attr("axis", -1)], dim=call.attr("axis", -1))


@lowers("Unique")
def unique(call: Call) -> None:
    """The different elements."""
    call.add("_unique2", call.outputs, input=call[0])


_MODES = {"nearest": "upsample_nearest", "linear": "upsample_linear", "cubic": "upsample_cubic"}


@lowers("Resize", "Upsample")
def resize(call: Call) -> None:
    """``[n, c, *s'] = interpolate([n, c, *s])``."""
    mode = call.attr("mode", "nearest")
    name = mode.decode() if isinstance(mode, bytes) else mode
    call.add(_MODES.get(name, "upsample_linear"), call.out, input=call[0])


@lowers("GridSample")
def grid_sample(call: Call) -> None:
    """``[n, c, *s'] = GridSample([n, c, *s], [n, *s', d])``."""
    mode = call.attr("mode", "linear")
    name = mode.decode() if isinstance(mode, bytes) else mode
    modes = {"linear": 0, "bilinear": 0, "nearest": 1, "cubic": 2, "bicubic": 2}
    call.add("grid_sampler", call.out, input=call[0], grid=call[1], interpolation_mode=modes.get(name, 0))


@lowers("AffineGrid")
def affine_grid(call: Call) -> None:
    """``[n, *s, d] = AffineGrid([n, d, d+1], size)``."""
    call.add("affine_grid_generator", call.out, theta=call[0])

"""Boxes and what is pooled from them."""

from __future__ import annotations

from flopscope.frontends.onnx.ops.table import lowers
from flopscope.frontends.onnx.values import Call


@lowers("RoiAlign")
def roi_align(call: Call) -> None:
    """``[k, c, h', w'] = RoiAlign([n, c, h, w], [k, 4], [k])``."""
    call.add("torchvision::roi_align", call.out, input=call[0], rois=call[1], batch=call[2], sampling_ratio=call.attr("sampling_ratio", 0))


@lowers("MaxRoiPool")
def roi_pool(call: Call) -> None:
    """``[k, c, h', w'] = MaxRoiPool([n, c, h, w], [k, 5])``."""
    call.add("torchvision::roi_pool", call.out, input=call[0], rois=call[1])


@lowers("NonMaxSuppression")
def suppress(call: Call) -> None:
    """``[m, 3] = NonMaxSuppression([n, k, 4], [n, c, k], ...)``: every class of every image by itself."""
    call.add("torchvision::nms", call.out, dets=call[0], scores=call[1])


@lowers("MaxUnpool")
def unpool(call: Call) -> None:
    """``[n, c, *s] = MaxUnpool([n, c, *s'], indices)``."""
    call.add("max_unpool", call.out, input=call[0], indices=call[1])

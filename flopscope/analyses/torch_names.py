"""The names that PyTorch has for ops of other front ends: tools are made for PyTorch, and know ops by these."""

from __future__ import annotations

from dataclasses import replace

from flopscope.graph import Signature

_OTHERS = ("ai.onnx::", "com.microsoft::")
_NAMES = {"matmul": "matmul", "addmm": "addmm"}
_BY_RANK = {
    ("upsample_nearest", 3): "upsample_nearest1d", ("upsample_nearest", 4): "upsample_nearest2d",
    ("upsample_nearest", 5): "upsample_nearest3d", ("upsample_linear", 3): "upsample_linear1d",
    ("upsample_linear", 4): "upsample_bilinear2d", ("upsample_linear", 5): "upsample_trilinear3d",
    ("upsample_cubic", 4): "upsample_bicubic2d",
}  # fmt: skip


def as_torch(signature: Signature) -> Signature:
    """The same call under PyTorch's name, where a convention looks at names; other calls as they are."""
    if not signature.target.startswith(_OTHERS):
        return signature
    name = _NAMES.get(signature.kind) or _BY_RANK.get((signature.kind, len(signature.output.shape) if signature.outputs else 0))
    return signature if name is None else replace(signature, target=f"aten::{name}")

"""torchinfo's "mult-adds": the parameters of each layer times sizes of its output."""

from __future__ import annotations

from math import prod

from flopscope.analyses.conventions.base import Call, Convention, Line, Scene, nothing

_NOT_FIRST = nothing("counted with the first op of its module")
_ELSE = nothing("runs in a module that has modules inside it, or no parameters called weight or bias")


def _layer(call: Call) -> Line | None:
    """A module without modules inside counts its parameters whenever it runs; the first of its ops carries that."""
    scene, path = call.scene, call.op.scope
    if call.part_of:
        return Line(_part, "parameters of the layer times the batch")
    if path in scene.parents or path not in scene.weights:
        return None
    ops = scene.ops_of[path]
    module = call.module
    if len(ops) == module.calls:
        return Line(lambda call: _count(scene, path, call.signature.output.shape), _TEXT)
    if call.op is not ops[0]:
        return _NOT_FIRST
    shape = module.output_shape or ()
    return Line(lambda _: module.calls * _count(scene, path, shape), _TEXT)


_TEXT = "parameters times all positions for convolutions, times the first dimension (the batch) for all other layers"


def _count(scene: Scene, path: str, shape: tuple[int, ...]) -> int:
    if not shape:
        return 0
    is_convolution = "Conv" in scene.modules[path].class_name
    total: int = 0
    for name, weight in scene.weights[path]:
        if name in ("weight", "bias"):
            total += weight.type.elements * (prod(shape[:1] + shape[2:]) if is_convolution else shape[0])
        elif "weight" in name or "bias" in name:
            total += weight.type.elements * prod(shape[:2])
    return total


def _part(call: Call) -> int:
    """A layer inside a fused encoder layer: its weights, once for each of the batch. Attention has modules inside and counts nothing."""
    if call.part_of not in ("Linear", "LayerNorm"):
        return 0
    named = (call.signature.get("weight"), call.signature.get("bias"))
    elements: int = sum(weight.elements for weight in named if weight is not None)
    return call.signature.output.shape[0] * elements


TORCHINFO = Convention(
    "torchinfo", 1, "MACs", "torchinfo 1.8.0",
    f"what torchinfo prints as mult-adds: for each module without modules inside, {_TEXT}; so a linear layer counts once however many "
    f"tokens "
    "it sees, norms and embeddings count, and functions and parameters used directly do not",
    otherwise=_ELSE,
    layer_line=_layer,
    unfolds=True,
)  # fmt: skip

"""What each ONNX op is made of: one file per family, and the table that they share."""

from flopscope.frontends.onnx.ops import (
    attention,
    classic,
    contractions,
    contrib,
    contrib_attention,
    contrib_products,
    contrib_training,
    elementwise,
    layers,
    movement,
    quantized,
    recurrent,
    regions,
    signals,
    training,
)
from flopscope.frontends.onnx.ops.table import known_ops as known_ops
from flopscope.frontends.onnx.ops.table import lowering_of as lowering_of

FAMILIES = (
    attention, classic, contractions, contrib, contrib_attention, contrib_products, contrib_training, elementwise, layers,
    movement, quantized, recurrent, regions, signals, training,
)  # fmt: skip

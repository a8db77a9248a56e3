"""What each ONNX op is made of: one file per family, and the table that they share."""

from flopscope.frontends.onnx.ops import contractions, elementwise, layers, movement, quantized, recurrent
from flopscope.frontends.onnx.ops.table import known_ops as known_ops
from flopscope.frontends.onnx.ops.table import lowering_of as lowering_of

FAMILIES = (contractions, elementwise, layers, movement, quantized, recurrent)

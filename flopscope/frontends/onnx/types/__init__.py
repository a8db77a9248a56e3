"""The types of what a call gives: one file per family of ops, the table that they share, and ONNX's own inference for all others."""

from flopscope.frontends.onnx.types import classic, common, contrib, contrib_others, first_versions, layers, standard
from flopscope.frontends.onnx.types.inference import Typed as Typed
from flopscope.frontends.onnx.types.inference import infer as infer
from flopscope.frontends.onnx.types.table import bound_of as bound_of
from flopscope.frontends.onnx.types.table import completion_of as completion_of
from flopscope.frontends.onnx.types.table import own_inference as own_inference

FAMILIES = (classic, common, contrib, contrib_others, first_versions, layers, standard)

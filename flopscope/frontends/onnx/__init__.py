"""ONNX files and models, read with onnx and NumPy alone."""

from flopscope.frontends.onnx.learning import clear_memo as clear_memo
from flopscope.frontends.onnx.trace import is_onnx as is_onnx
from flopscope.frontends.onnx.trace import names_onnx as names_onnx
from flopscope.frontends.onnx.trace import trace as trace

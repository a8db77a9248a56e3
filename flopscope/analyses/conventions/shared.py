"""Counts that several tools share, right or wrong."""

from __future__ import annotations

from math import prod

from flopscope.analyses.conventions.base import Call, Line, nothing
from flopscope.cost import FLOPS_PER_MAC

MACS = Line(lambda call: call.macs, "multiply-accumulates")
ELEMENTS_IN = Line(lambda call: call.elements_in, "1 per element that enters")
ELEMENTS_OUT = Line(lambda call: call.elements_out, "1 per element that leaves")
WITH_BIAS = Line(lambda call: call.macs + call.biased, "multiply-accumulates, and 1 per element to which a bias is added")

CONVS = ("Conv1d", "Conv2d", "Conv3d")
TRANSPOSED = ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
BATCH_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
INSTANCE_NORMS = ("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d")


def first_by_last(call: Call) -> int:
    """Elements of the first factor times the last dimension of the second: right unless the first is broadcast or the second a vector."""
    a, b = call.signature["a"], call.signature["b"]
    return int(prod(a.shape) * b.shape[-1])


def named_product(call: Call) -> int:
    """The same for ``matmul``, ``mm`` and ``bmm``, which tools replace; ``mv``, ``dot`` and ``inner`` they do not."""
    return first_by_last(call) if call.signature.target in ("aten::matmul", "aten::mm", "aten::bmm") else 0


PRODUCT = Line(named_product, "matmul, mm and bmm as elements of the first factor times the last dimension of the second")


def einsum_operations(call: Call) -> int:
    """What numpy's report on the best path calls the optimised count: two per product and sum, rounded to four digits."""
    import numpy

    equation = call.signature["equation"].replace(" ", "")
    letters = {letter: chr(97 + i) for i, letter in enumerate(dict.fromkeys(filter(str.isalpha, equation)))}
    renamed = "".join(letters.get(sign, sign) for sign in equation)
    operands = [numpy.broadcast_to(numpy.zeros(()), operand.shape) for operand in call.signature["operands"]]
    try:
        report = str(numpy.einsum_path(renamed, *operands, optimize="optimal")[1])
    except ValueError:  # an equation that torch takes and numpy does not: the tools raise, so there is no count of theirs to follow
        return FLOPS_PER_MAC * call.macs
    line = next(line for line in report.splitlines() if "optimized flop" in line.lower())
    return int(float(line.split(":")[-1]))


def dispatched_einsum(call: Call) -> int:
    """Multiply-accumulates that are seen after dispatch: a step without a sum is an elementwise product, which is none."""
    from flopscope.rules.einsum import parse

    equation = parse(call.signature["equation"], [operand.shape for operand in call.signature["operands"]])
    labels = {label for operand in equation.operands for label, size in operand.items() if size != 1}
    return 0 if labels <= set(equation.output) else call.macs


# A graph does not know by which name an op was called. For tools that replace functions by name, these packages are known to do so,
# by the beginning of the Python module of the class that runs the op, and a part of the name of that class.
_OPERATORS = (("timm.", ""), ("transformers.", "Rotary"))
"""Products are written ``a @ b``."""
_METHODS = (("timm.", ""),)
"""Softmax is called as a method of the tensor, and not as a function."""
_FUNCTIONS = ("LambdaLayer",)
"""... except in these classes."""
_HELD = (("transformers.activations", "GELUActivation"), ("torch.nn.modules.transformer", "Layer"))
"""A function was taken when the model was built, before a tool replaced it."""


def _is_in(call: Call, table: tuple[tuple[str, str], ...]) -> bool:
    module = call.module
    return any(module.origin.startswith(origin) and name in module.class_name for origin, name in table)


def is_operator(call: Call) -> bool:
    """Whether a product is most likely written ``a @ b``, which calls no function by name."""
    return call.signature.target == "aten::matmul" and _is_in(call, _OPERATORS)


def is_method(call: Call) -> bool:
    """Whether a softmax is most likely a method of the tensor."""
    return call.layer != "Softmax" and call.module.class_name not in _FUNCTIONS and _is_in(call, _METHODS)


def is_held(call: Call) -> bool:
    """Whether a function was most likely taken before a tool replaced it."""
    return _is_in(call, _HELD)


def recurrent(call: Call, gates: int, state: int) -> int:
    """As thop counts: per unit, gate and token 1, 2 more with a bias; ``state`` more per unit and token for the new state."""
    op = call.signature
    matrices = [weight for weight in op["params"] if len(weight.shape) == 2]
    biased = any(len(weight.shape) == 1 for weight in op["params"])
    units = matrices[0].shape[0] // gates
    runs = op["num_layers"] * (2 if op.get("bidirectional", False) else 1)
    per_token = sum(matrix.elements for matrix in matrices) + runs * units * (gates * (3 if biased else 1) + state)
    return int(prod(op["input"].shape[:-1]) * per_token)


UNSEEN = nothing("not seen by this tool")

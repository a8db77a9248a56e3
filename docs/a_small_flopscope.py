"""A small flopscope, from nothing.

This file builds, in about a hundred lines, a counter that tells how many multiply-accumulates (MACs) and parameters a PyTorch model has, in
all and module by module, without running it. It is the idea of flopscope with everything else left out; the tests hold it against
flopscope itself. Run it:

    python docs/a_small_flopscope.py resnet18
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

# -- 1. What is counted --------------------------------------------------------------------------------------------
#
# The cost of an op follows from shapes alone. So a rule is a function from the arguments and the result of one call to a number; it reads
# `.shape` and nothing else. A contraction makes every element of its result from a sum of products: the MACs are the elements of the result
# times the products in one sum.

Rule = Callable[..., int]


def conv(out: Tensor, _x: Tensor, weight: Tensor, *_: Any) -> int:
    """[n, o, *s'] = conv([n, c, *s], [o, c/g, *k]): one sum runs over the c/g channels of a group and the k positions of the kernel."""
    return out.numel() * math.prod(weight.shape[1:])


def linear(out: Tensor, _x: Tensor, weight: Tensor, *_: Any) -> int:
    """[*, o] = linear([*, c], [o, c])."""
    return out.numel() * weight.shape[1]


def matmul(out: Tensor, a: Tensor, _b: Tensor) -> int:
    """[*, n, m] = matmul([*, n, k], [*, k, m])."""
    return out.numel() * a.shape[-1]


def attention(_out: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Every query meets every key (scores of width e), and every score weighs a value (of width v)."""
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    return scores * (query.shape[-1] + value.shape[-1])


RULES: dict[str, Rule] = {
    "conv2d": conv,
    "linear": linear,
    "matmul": matmul,
    "scaled_dot_product_attention": attention,
}

# A zero is written down, too. These ops compute, but multiply and accumulate nothing; an op that is in neither table is *unknown*, and
# unknown is not zero: the total is then a lower bound, and the op is listed.

COMPUTED = """adaptive_avg_pool2d add add_ avg_pool2d batch_norm dropout dropout_ eq gelu hardsigmoid hardswish_ hardtanh_ layer_norm
masked_fill max_pool2d mean mul ne relu relu_ sigmoid silu_ softmax sub"""
MOVED = """alias cat chunk contiguous expand fill_ flatten index new_zeros pad permute reshape roll select slice squeeze transpose
unflatten unsqueeze view"""
NO_MACS = {*COMPUTED.split(), *MOVED.split()}

# -- 2. How calls are seen -----------------------------------------------------------------------------------------
#
# Two switches make PyTorch tell us everything. Tensors on the *meta* device have shapes and no data, so that every op computes the shape of
# its result and nothing else: ResNet-152 takes milliseconds and no memory. And a *dispatch mode* is called in place of every op that runs
# inside of it. Under inference mode an op arrives whole, as `linear`; with autograd on it would come apart into `t` and `addmm`.


@dataclass(frozen=True)
class Call:
    """One call of an op."""

    scope: str
    op: str
    macs: int | None
    """None where no rule knows the op."""


@dataclass
class Tracer(TorchDispatchMode):
    """Runs every op for its shape, and writes down what it costs."""

    calls: list[Call] = field(default_factory=list)
    scopes: list[str] = field(default_factory=lambda: [""])

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by PyTorch in place of an op."""
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        macs = RULES[name](out, *args, **(kwargs or {})) if name in RULES else 0 if name in NO_MACS else None
        self.calls.append(Call(self.scopes[-1], name, macs))
        return out


# -- 3. Whose calls they are ---------------------------------------------------------------------------------------
#
# PyTorch calls global hooks before and after the `forward` of every module. A stack of paths then says at any time which module is running.
# Whatever is entered is left in `finally`, and nothing is written on the model: look, do not touch.


@contextmanager
def scopes_of(model: nn.Module, tracer: Tracer) -> Iterator[None]:
    """The tracer knows which module runs while this is open."""
    paths = {module: path for path, module in model.named_modules()}
    hooks = [
        register_module_forward_pre_hook(lambda module, _: tracer.scopes.append(paths.get(module, tracer.scopes[-1]))),
        register_module_forward_hook(lambda *_: void(tracer.scopes.pop())),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def void(_: object) -> None:
    """Nothing: what a hook returns would replace the result of the module."""


# -- 4. Adding up --------------------------------------------------------------------------------------------------
#
# A call belongs to its module and to every module around it, up to the model itself, whose path is empty. A parameter counts once, however
# often it is shared; `named_parameters` takes care of that.


@dataclass(frozen=True)
class Report:
    """What a model costs."""

    macs: Counter[str]
    """MACs by module, each with everything inside it."""
    params: Counter[str]
    unknown: Counter[str]
    """Ops that no rule knows. Where there are any, all MACs are lower bounds."""


def around(scope: str) -> Iterator[str]:
    """The path of a module, and those of the modules around it: a.b.c, a.b, a, and the empty one."""
    while scope:
        yield scope
        scope = scope.rpartition(".")[0]
    yield ""


def analyze(model: nn.Module, *inputs: Tensor) -> Report:
    """Tell what one call of a model on the meta device costs."""
    tracer = Tracer()
    with torch.inference_mode(), scopes_of(model, tracer), tracer:
        model(*inputs)
    report = Report(Counter(), Counter(), Counter(call.op for call in tracer.calls if call.macs is None))
    for call in tracer.calls:
        report.macs.update(dict.fromkeys(around(call.scope), call.macs or 0))
    for name, parameter in model.named_parameters():
        report.params.update(dict.fromkeys(around(name.rpartition(".")[0]), parameter.numel()))
    return report


# -- 5. Asking -----------------------------------------------------------------------------------------------------


def main(name: str = "resnet18") -> None:
    """Print the modules of a model of torchvision, two levels deep."""
    import torchvision

    with torch.device("meta"):
        model = torchvision.models.get_model(name).eval()
        report = analyze(model, torch.empty(1, 3, 224, 224))
    for path, _ in model.named_modules():
        if path.count(".") < 2:
            sys.stdout.write(f"{path or name:40} {report.params[path]:>14,} params {report.macs[path]:>18,} MACs\n")
    if report.unknown:
        sys.stdout.write(f"at least: no rule knows {dict(report.unknown)}\n")


# What is missing here, and what the package is for: FLOPs, access and memory of every op; a rule or a reason for each op
# of PyTorch and ONNX; models that read data; real weights that are not to be touched; batches of architectures as tensors and sizes as
# symbols, on which the same rules run; and a memo, which makes a trace faster than the meta kernels of the ops.

if __name__ == "__main__":
    main(*sys.argv[1:])

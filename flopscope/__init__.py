"""What any PyTorch or ONNX model costs, exactly, in milliseconds, without running it.

What is counted
    A *MAC* is one multiply-accumulate of a contraction: convolution, matrix product, attention, recurrent layer. *FLOPs* are twice the
    MACs plus all other arithmetic, by the rule of each op. *params* are the elements of parameters, each tensor once however often it
    is shared; buffers are apart. *access* are the elements that the ops read and write, weights included, and *access bytes* the same
    in bytes.
What is zero
    Views move nothing. Movement (concatenation, shuffle, copies) costs no FLOPs, but access. A zero is always written down by a rule.
What is a lower bound
    A total with an op that no rule prices is *partial*: it says "at least" and lists the op. `analyze` with ``strict=True`` raises.
What it must not be read as
    Time. Masks are counted dense, padding is counted as data, and every op reads its inputs from memory, as eager kernels do.

    >>> import flopscope, torch
    >>> report = flopscope.analyze(torch.nn.Linear(8, 4), "2x8")
    >>> report.total.macs
    64
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flopscope.version import __version__ as __version__

if TYPE_CHECKING:
    from flopscope import relax as relax
    from flopscope.api import analyze as analyze
    from flopscope.api import clear_memo as clear_memo
    from flopscope.api import compare as compare
    from flopscope.api import diff as diff
    from flopscope.api import training as training
    from flopscope.cost import Cost as Cost
    from flopscope.errors import FlopscopeError as FlopscopeError
    from flopscope.frontends.sources.spec import load as load
    from flopscope.frontends.torch.building import building as building
    from flopscope.graph import Graph as Graph
    from flopscope.relax.closed.form import ClosedForm as ClosedForm
    from flopscope.relax.closed.form import closed_form as closed_form
    from flopscope.report import Comparison as Comparison
    from flopscope.report import Report as Report
    from flopscope.rules import count as count
    from flopscope.rules import forget_rule as forget_rule
    from flopscope.rules import rule as rule

__all__ = [
    "ClosedForm",
    "Comparison",
    "Cost",
    "FlopscopeError",
    "Graph",
    "Report",
    "__version__",
    "analyze",
    "building",
    "clear_memo",
    "closed_form",
    "compare",
    "count",
    "diff",
    "forget_rule",
    "load",
    "relax",
    "rule",
    "training",
]

# Imported when first used: ``flopscope --help`` must not wait for torch.
_HOMES = {
    "ClosedForm": "flopscope.relax.closed.form",
    "Comparison": "flopscope.report",
    "Cost": "flopscope.cost",
    "FlopscopeError": "flopscope.errors",
    "Graph": "flopscope.graph",
    "Report": "flopscope.report",
    "analyze": "flopscope.api",
    "building": "flopscope.frontends.torch.building",
    "clear_memo": "flopscope.api",
    "closed_form": "flopscope.relax.closed.form",
    "compare": "flopscope.api",
    "count": "flopscope.rules",
    "diff": "flopscope.api",
    "forget_rule": "flopscope.rules",
    "load": "flopscope.frontends.sources.spec",
    "rule": "flopscope.rules",
    "training": "flopscope.api",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "relax":
        return importlib.import_module("flopscope.relax")
    if name not in _HOMES:
        raise AttributeError(f"module 'flopscope' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

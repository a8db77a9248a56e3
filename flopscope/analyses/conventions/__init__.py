"""Named ways to add the counts up, so that a number from elsewhere can be compared with ours.

Each convention is a table: what it counts for each kind of op, or for each kind of layer, and in words what that is. A convention that is
named after a tool says what that tool prints for a model, its faults included, as far as a graph can tell.
"""

from __future__ import annotations

from flopscope.analyses.conventions.base import Call as Call
from flopscope.analyses.conventions.base import Convention as Convention
from flopscope.analyses.conventions.base import Line as Line
from flopscope.analyses.conventions.base import Scene as Scene
from flopscope.analyses.conventions.deepspeed import CALFLOPS, DEEPSPEED
from flopscope.analyses.conventions.fvcore import FVCORE, FVCORE_FUSED
from flopscope.analyses.conventions.plain import PLAIN
from flopscope.analyses.conventions.ptflops import PTFLOPS
from flopscope.analyses.conventions.ptflops_aten import PTFLOPS_ATEN
from flopscope.analyses.conventions.pytorchcv import PYTORCHCV
from flopscope.analyses.conventions.thop import THOP
from flopscope.analyses.conventions.torch_mode import TORCH
from flopscope.analyses.conventions.torchinfo import TORCHINFO
from flopscope.errors import OptionError
from flopscope.graph import Graph

TOOLS = (FVCORE, FVCORE_FUSED, THOP, PTFLOPS, PTFLOPS_ATEN, TORCH, TORCHINFO, DEEPSPEED, CALFLOPS, PYTORCHCV)
CONVENTIONS = {convention.name: convention for convention in (*PLAIN, *TOOLS)}


def convention(name: str) -> Convention:
    """The convention of that name.

    Raises:
        OptionError: there is none.
    """
    if name not in CONVENTIONS:
        raise OptionError(f"there is no convention {name!r}; choose one of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def count_under(graph: Graph, name: str) -> int:
    """What a graph costs under a convention, in its unit.

    Raises:
        OptionError: there is no such convention.
    """
    return sum(convention(name).counts(graph))

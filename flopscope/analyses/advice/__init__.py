"""The four guidelines of ShuffleNetV2 (Ma et al. 2018, arXiv:1807.11164, section 2) as checks of a graph, one file each.

They say what makes a network slower than its FLOPs promise, and all are about memory access:

- G1, `equal_widths`: layers with as many channels in as out read and write the least for their multiply-accumulates;
- G2, `groups`: groups let a layer read and write more for the same multiply-accumulates;
- G3, `fragments`: many small ops side by side make less of a parallel machine than one large op;
- G4, `elementwise_ops`: elementwise ops compute next to nothing, but read and write as much as others.
"""

from __future__ import annotations

from flopscope.analyses.advice.elementwise_ops import elementwise_ops
from flopscope.analyses.advice.equal_widths import equal_widths
from flopscope.analyses.advice.finding import Finding
from flopscope.analyses.advice.fragments import fragments
from flopscope.analyses.advice.groups import groups
from flopscope.graph import Graph


def findings(graph: Graph) -> list[Finding]:
    """What each of the four guidelines says about a graph, in their order."""
    return [check(graph) for check in (equal_widths, groups, fragments, elementwise_ops)]

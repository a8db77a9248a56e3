"""Cost as a differentiable function of the architecture: choices, widths and closed forms."""

from flopscope.relax.choice import Choice
from flopscope.relax.cost_model import CostModel
from flopscope.relax.decisions import Decision
from flopscope.relax.groups import Frozen, Group
from flopscope.relax.parts import Contribution, Vertex
from flopscope.relax.supernet import cost_model
from flopscope.relax.widths import Widths, widths

__all__ = ["Choice", "Contribution", "CostModel", "Decision", "Frozen", "Group", "Vertex", "Widths", "cost_model", "widths"]
